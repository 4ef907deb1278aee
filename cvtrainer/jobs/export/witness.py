"""Keeps what an artefact says of a split, with the truth, to find an operating point or judge one.

The truth is what the stage's meters compare with; where none says which field that is, the one of
the right form counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.operating.evidence import Answers, AnyOfMany, Evidence, Found, OneOfMany
from cvtrainer.deploy.operating.fit import Point, judged, point_of
from cvtrainer.deploy.operating.goal import Goal, goal_of
from cvtrainer.deploy.operating.matching import right_ones
from cvtrainer.engine.binding import getter, leaf_keys, target_fields
from cvtrainer.engine.recorder import MeterEntry
from cvtrainer.protocols import Batch, Outputs
from cvtrainer.telling.classification import Classification, MultiLabel
from cvtrainer.telling.detection import Detection
from cvtrainer.telling.kinds import telling_of
from cvtrainer.telling.operating import Operating
from cvtrainer.telling.reading import Telling

Array = NDArray[Any]

_KNOWN = (Classification, MultiLabel, Detection)
_OBJECTS = ("boxes", "box_labels", "boxes_padding")


class Witness:
    """Sees each batch with an artefact's outputs."""

    def __init__(
        self, reading: Telling, meters: Iterable[MeterEntry], goal: Goal | None = None
    ) -> None:
        if not isinstance(reading, _KNOWN):
            raise UserError(
                f"a task of {reading.kind or 'somebody'} has no operating point",
                where="--operate",
                todo="Classification, multi_label, detection and instances have one.",
            )
        if goal is not None:
            goal.refuse_where_senseless(
                one_class=isinstance(reading, Classification),
                has_shares=not isinstance(reading, Detection),
            )
        self._reading = reading
        self._goal = goal
        self._bound = [entry.bind["target"] for entry in meters if "target" in entry.bind]
        self._rows: list[tuple[Array, ...]] = []

    def see(self, batch: Batch, outputs: Outputs) -> None:
        """Of one batch, in any order of samples."""
        if isinstance(self._reading, Detection):
            self._see_objects(batch, outputs)
            return
        shares = _array(outputs["probabilities"])
        if shares.ndim != 2:
            raise UserError("several places per sample have no operating point", where="--operate")
        truth = self._truth(batch, shares.shape)
        if isinstance(self._reading, Classification) and truth.ndim == 2:
            truth = truth.argmax(axis=1)
        self._rows.append((shares, truth))

    def point(self, classes: Sequence[str] | None) -> Point:
        """What reaches the goal."""
        assert self._goal is not None
        return point_of(self._evidence(len(classes or ())), self._goal, classes)

    def judged(self, operating: Operating, classes: Sequence[str] | None) -> dict[str, Any]:
        """What that point is worth here."""
        return judged(self._evidence(len(classes or ())), operating, classes)

    def _evidence(self, classes: int) -> Evidence:
        if isinstance(self._reading, Detection):
            return self._found(classes)
        shares, truth = (np.concatenate(one) for one in zip(*self._rows, strict=True))
        if isinstance(self._reading, MultiLabel):
            return AnyOfMany(shares, truth, self._reading.threshold)
        known = (truth >= 0) & (truth < shares.shape[1])
        return OneOfMany(shares[known], truth[known])

    def _truth(self, batch: Batch, shape: tuple[int, ...]) -> Array:
        keys = leaf_keys(batch)
        names = [name for name in self._bound if name in keys]
        if names:
            bound = _array(getter(keys[names[0]])(batch))
            return bound[:, 0] if bound.ndim == 2 and bound.shape[1] == 1 < shape[1] else bound
        given = [getter(key)(batch) for key in target_fields(batch)]
        fitting = [
            one
            for one in given
            if isinstance(one, Tensor)
            and tuple(one.shape) in self._shapes(shape)
            and not (one.is_floating_point() and one.ndim == 1)
        ]
        if len(fitting) != 1:
            raise UserError(
                f"{len(fitting)} fields of a batch could be the truth",
                where="--operate",
                todo="Bind the target of a meter: bind: {target: class_id}.",
            )
        return _array(fitting[0])

    def _shapes(self, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [shape] if isinstance(self._reading, MultiLabel) else [shape[:1], shape]

    def _see_objects(self, batch: Batch, outputs: Outputs) -> None:
        keys = leaf_keys(batch)
        missing = [name for name in _OBJECTS if name not in keys]
        if missing:
            raise UserError(f"a batch has no {missing[0]}", where="--operate")
        boxes, labels, padding = (_array(getter(keys[name])(batch)) for name in _OBJECTS)
        found = [_array(outputs[f"found_{name}"]) for name in ("boxes", "scores", "classes")]
        for place in range(len(boxes)):
            there, mine = found[1][place] > 0, ~padding[place].astype(bool)
            self._rows.append(
                (*(one[place][there] for one in found), boxes[place][mine], labels[place][mine])
            )

    def _found(self, classes: int) -> Found:
        most = [int(one.max(initial=-1)) for row in self._rows for one in (row[2], row[4])]
        classes = max(classes, 1 + max(most, default=0))
        right = [right_ones(*row) for row in self._rows]
        sample = [np.full(len(row[1]), number) for number, row in enumerate(self._rows)]
        truths = np.stack([np.bincount(row[4], minlength=classes) for row in self._rows])
        answers = Answers(
            np.concatenate(sample),
            np.concatenate([row[2] for row in self._rows]).astype(int),
            np.concatenate([row[1] for row in self._rows]),
            np.concatenate(right),
            truths.sum(axis=0),
            len(self._rows),
        )
        assert isinstance(self._reading, Detection)
        return Found(answers, truths, self._reading.told_from)


def witness_of(
    contract: Contract, meters: Iterable[MeterEntry], goal: str | None
) -> Witness | None:
    """Where an operating point is wanted."""
    if goal is None:
        return None
    return Witness(telling_of(contract.reading, "--operate"), meters, goal_of(goal))


def _array(value: Any) -> Array:
    if not isinstance(value, Tensor):
        return np.asarray(value)
    plain = value.detach().cpu()
    if plain.is_floating_point():
        plain = plain.to(torch.float64)
    array: Array = plain.numpy()
    return array
