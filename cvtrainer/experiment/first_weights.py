"""The first weights that networks of a config ask for: `pretrained`, of a model or a backbone.

What is asked is noted when a network is built, and carried out when training begins: an evaluation
or a resumed run has weights of its own, so nothing is read or downloaded for it. Each account goes
to the log in one line and whole into the run's folder.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_of_stage import known_input
from cvtrainer.core.schema import PRETRAINED
from cvtrainer.engine.hand_over import FOLDER, Wish, hand_over
from cvtrainer.experiment.run_checkpoints import weights_at
from cvtrainer.experiment.surroundings import Surroundings

WORD = "pretrained"
_NEAR = 0.03
"""Differences of means and deviations that a network does not notice."""
_ON_BY_DEFAULT = ("weights_backbone", "encoder_weights")
"""Arguments by which libraries download unless they are told not to."""


@dataclass(frozen=True)
class Asked:
    """Of a file, run or stage as the block says, or without one what the library has published."""

    block: Mapping[str, Any]
    which: str | None = None


class FirstWeights:
    """Who asks for what, until it is there."""

    def __init__(self) -> None:
        self._asked: WeakKeyDictionary[nn.Module, Asked] = WeakKeyDictionary()

    def note(self, network: object, asked: Asked, name: str) -> None:
        """That this network asks for it."""
        if not isinstance(network, nn.Module):
            raise UserError(f"{name} gives no torch module, so it takes no weights", where=WORD)
        self._asked[network] = asked

    def which_of(self, network: nn.Module) -> str | None:
        """The name of the published weights that it asks for, if it gives one."""
        asked = self._asked.get(network)
        return None if asked is None else asked.which

    def fill(
        self, networks: Mapping[str, nn.Module], stage: Mapping[str, Any], around: Surroundings
    ) -> None:
        """Give them and their parts what they ask for, the whole before its parts."""
        for name, network in networks.items():
            for path, module in network.named_modules():
                asked = self._asked.get(module)
                if asked is not None:
                    self._fill_one(module, asked, name, path, stage, around)

    def _fill_one(
        self,
        module: nn.Module,
        asked: Asked,
        network: str,
        path: str,
        stage: Mapping[str, Any],
        around: Surroundings,
    ) -> None:
        place = f"{network}.{path}".rstrip(".")
        if asked.block:
            source = str(asked.block["source"])
            state = around.left_by(source) or weights_at(Path(source), around.say)
        else:
            source = f"published ({asked.which})" if asked.which else "published"
            published: Any = module
            state = dict(published.published_weights(asked.which))
        defaults = {key.name: key.default for key in PRETRAINED.values()}
        wish = Wish.read({**defaults, **asked.block})
        found = hand_over({path or network: module}, state, wish, source=f"{place}: {source}")
        account: Path | None = None
        if around.run is not None and around.world.rank == 0:
            account = found.write(around.run.path / FOLDER / f"{stage['name']}_{place}.json")
        todo = "Take the network they were trained with, or say how names differ: rename."
        found.insist(todo + (f" All names are in {account}." if account is not None else ""))
        whole = f" ({account.name} has all names)" if account is not None else ""
        around.say(f"{WORD} {found.summary()}{whole}")
        other = None if asked.block else _other_pictures(module, asked.which, stage)
        if other is not None:
            around.say(f"{WORD} {place}: {other}")


def _other_pictures(module: nn.Module, which: str | None, stage: Mapping[str, Any]) -> str | None:
    """How the stage's pictures are normalised, if published weights know others."""
    told = getattr(module, "published_input", None)
    published, given = told(which) if told is not None else None, known_input(stage, None)
    if published is None or given is None:
        return None
    grey = getattr(module, "in_channels", 3) == 1
    pairs = ((published.mean, given.mean), (published.std, given.std))
    if given.scaled and given.mean and all(_near(*pair, grey=grey) for pair in pairs):
        return None
    mine = "only scaled to 0..1" if given.scaled else "bytes"
    if given.mean:
        mine = f"normalised by mean {_plain(given.mean)}, std {_plain(given.std)}"
    return (
        f"these weights know pictures normalised by mean {_plain(published.mean)}, std "
        f"{_plain(published.std)}; the stage's are {mine}; see `normalize` of its image tensorizer "
        "or device step"
    )


def _near(published: Sequence[float], given: Sequence[float], *, grey: bool) -> bool:
    """One number stands for all channels; grey pictures are the mean of colours."""
    known = [fmean(published)] if grey else list(published)
    mine = [*given] * (len(known) if len(given) == 1 else 1)
    return all(abs(a - b) <= _NEAR for a, b in zip(known, mine, strict=False))


def _plain(numbers: Sequence[float]) -> str:
    return f"[{', '.join(f'{one:g}' for one in numbers)}]"


def asked_by(
    node: Mapping[str, Any], target: Callable[..., Any], arguments: dict[str, Any]
) -> Asked | None:
    """What a node asks for; the target's own arguments are put right along the way.

    Networks that know published weights get none while they are built. A class of the user that
    has an argument `pretrained` gets it as it is written, a file only if it is no yes or no.
    """
    parameters = _parameters(target)
    for word in _ON_BY_DEFAULT:
        if word in parameters and word not in arguments:
            arguments[word] = None
    value = node.get(WORD, arguments.pop(WORD, None))
    if hasattr(target, "published_weights"):
        words: tuple[str, ...] = getattr(target, "ASKS_BY", ())
        others = [arguments.pop(word, None) for word in words if word != WORD]
        which = next((one for one in others if one), None)
        return _of_file(value) or (Asked({}, which) if value or which else None)
    own = parameters.get(WORD)
    variadic = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    if value is None:
        return None
    if isinstance(value, bool):
        if own is not None or variadic:
            arguments[WORD] = value
        elif value:
            raise UserError(
                f"there are no published weights for {node['type']}",
                where=WORD,
                todo="Give a file of weights or the folder of a run.",
            )
        return None
    if own is not None and not _yes_or_no(own):
        arguments[WORD] = value
        return None
    return _of_file(value)


def _of_file(value: Any) -> Asked | None:
    if isinstance(value, str):
        return Asked({"source": value}) if value else None
    return Asked(value) if isinstance(value, Mapping) else None


def _yes_or_no(parameter: inspect.Parameter) -> bool:
    return parameter.annotation in (bool, "bool") or isinstance(parameter.default, bool)


def _parameters(target: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return {}
