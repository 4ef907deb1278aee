"""New files of weights out of checkpoints: the average of several, or one without its training.

What comes out loads like any checkpoint wherever weights are wanted (eval, init_from, load), and
anywhere with `torch.load(path, weights_only=True)`. No run resumes from it, because there is no
position in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import SUFFIXES, followed, write_checkpoint
from cvtrainer.engine.weight_files import Weights, read_weights, saved_weights
from cvtrainer.jobs.ckpt.show import size_of
from cvtrainer.protocols import State

_KEPT = ("stage", "run_id", "run_path", "classes", "learnt", "input_size", "metrics")


@dataclass(frozen=True)
class Made:
    """The new file; `averaged` names the networks whose averaged weights were taken."""

    path: Path
    bytes_before: int
    bytes_after: int
    averaged: list[str]


def strip(path: str | Path, out: str | Path) -> Made:
    """Only what inference needs; the averaged weights where training kept an average."""
    place, target = followed(Path(path)), _target(out, [path])
    state = read_weights(place)
    found = _weights(state, place, averaged=None)
    return _write(target, [place], state, *found)


def average(paths: Sequence[str | Path], out: str | Path, *, averaged: bool = False) -> Made:
    """The arithmetic mean of each weight; whole numbers (counters) are the last file's.

    `averaged` takes the average that training kept in each file instead of the weights themselves.
    """
    if len(paths) < 2:
        raise UserError("an average needs two checkpoints at least", where="ckpt average")
    target = _target(out, paths)
    places = [followed(Path(path)) for path in paths]
    means: dict[str, _Mean] = {}
    state: State = {}
    taken: list[str] = []
    for place in places:
        state = read_weights(place)
        networks, taken = _weights(state, place, averaged=averaged)
        if means and set(networks) != set(means):
            raise UserError(
                f"its networks are {', '.join(networks)}, in {places[0].name} they are "
                f"{', '.join(means)}",
                where=str(place),
            )
        for name, weights in networks.items():
            means.setdefault(name, _Mean(places[0].name)).add(weights, str(place))

    made = {name: one.weights() for name, one in means.items()}
    return _write(target, places, state, made, taken)


class _Mean:
    """The mean of one network's weights, gathered file by file in double precision."""

    def __init__(self, first: str) -> None:
        self._first = first
        self._sums: dict[str, Tensor] = {}
        self._last: Weights = {}
        self._count = 0

    def add(self, weights: Weights, where: str) -> None:
        """One file more; it must have the same tensors."""
        if self._count and (unlike := _unlike(self._last, weights)):
            raise UserError(f"{unlike} than in {self._first}", where=where)
        for name, value in weights.items():
            if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()):
                wide = value.to(torch.complex128 if value.is_complex() else torch.float64)
                self._sums[name] = self._sums[name] + wide if name in self._sums else wide
        self._last = weights
        self._count += 1

    def weights(self) -> Weights:
        """The mean, in the precision of the last file."""
        return {
            name: (self._sums[name] / self._count).to(value.dtype) if name in self._sums else value
            for name, value in self._last.items()
        }


def _unlike(known: Weights, given: Weights) -> str | None:
    """The first thing in which two sets of weights are of different form."""
    for name in [*known, *given]:
        if name not in known or name not in given:
            return f"{name} is {'missing' if name in known else 'there'}, other"
        one, other = known[name], given[name]
        if isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape != other.shape:
            return f"{name} is {tuple(other.shape)}, other"
    return None


def _weights(
    state: State, place: Path, *, averaged: bool | None
) -> tuple[dict[str, Weights], list[str]]:
    try:
        found = saved_weights(state, averaged=averaged)
    except UserError as error:
        raise UserError(error.what, where=str(place), todo=error.todo) from error
    names = {name: name or "model" for name in found.networks}
    networks: dict[str, Weights] = {
        names[name]: dict(weights) for name, weights in found.networks.items()
    }
    return networks, [names[name] for name in found.networks if name in found.averaged]


def _target(out: str | Path, sources: Sequence[str | Path]) -> Path:
    """A new file; what is there already stays."""
    target = Path(out)
    if target.suffix not in SUFFIXES:
        raise UserError(
            "not the name of a checkpoint", where=str(target), todo=f"End it in {SUFFIXES[0]}."
        )
    if target.exists():
        raise UserError(
            "there is such a file already", where=str(target), todo="Choose another name."
        )
    return target


def _write(
    target: Path,
    sources: Sequence[Path],
    state: State,
    networks: Mapping[str, Weights],
    averaged: list[str],
) -> Made:
    made: dict[str, Any] = {key: state[key] for key in _KEPT if key in state}
    made |= {"networks": dict(networks), "made_from": [path.name for path in sources]}
    write_checkpoint(target, made)
    return Made(target, sum(map(size_of, sources)), size_of(target), averaged)
