"""An operating point: how sure a model must be before it answers, and shares that can be believed.

It is found on an artefact's own outputs and stands in its contract; the reading of the task stays
as it is and is asked through `Operated`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, ClassVar

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.telling.classification import TOP, Classification, MultiLabel
from cvtrainer.telling.detection import Detection
from cvtrainer.telling.reading import Array, Arrays, Paths, Telling, Value

UNKNOWN = "unknown"
"""Told in the place of a class where the model is not sure enough."""
NOBODY = -1
"""Its number among arrays."""
_LEAST_SHARE = 1e-30


@dataclass(frozen=True)
class Operating:
    """Shares are those of scores divided by `temperature`; `thresholds` has one for each class.

    A class without a threshold (None) is never answered; no thresholds at all change no answer.
    """

    temperature: float = 1.0
    thresholds: tuple[float | None, ...] | None = None

    @classmethod
    def of_plain(cls, told: Mapping[str, Any], where: str) -> Operating:
        """From a contract; what cannot be is refused."""
        try:
            given = told.get("thresholds")
            read = None if given is None else tuple(map(_threshold, given))
            temperature = float(told["temperature"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UserError("the contract's operating point is damaged", where=where) from error
        if not (isfinite(temperature) and temperature > 0):
            raise UserError(f"an operating point of temperature {temperature}", where=where)
        return cls(temperature, read)

    def plain(self) -> dict[str, Any]:
        """For a contract."""
        thresholds = None if self.thresholds is None else list(self.thresholds)
        return {"temperature": self.temperature, "thresholds": thresholds}

    def reached(self, scores: Array, kinds: Array) -> Array:
        """Which scores are high enough for their classes."""
        assert self.thresholds is not None
        levels = [np.inf if one is None else one for one in self.thresholds]
        each = np.asarray([*levels, np.inf])  # a class that nobody knows is not answered
        place = np.where((kinds >= 0) & (kinds < len(levels)), kinds, len(levels))
        found: Array = scores >= each[place]
        return found


@dataclass(frozen=True)
class Operated(Telling):
    """A reading of outputs at an operating point."""

    kind: ClassVar[str] = "operated"
    reading: Telling
    operating: Operating

    @property
    def places(self) -> Mapping[str, str]:
        return self.reading.places

    @property
    def below(self) -> Paths:
        return self.reading.below

    @property
    def decoded(self) -> tuple[str, ...]:
        return self.reading.decoded

    def decode(self, outputs: Mapping[str, Array]) -> Arrays:
        return self.reading.decode(outputs)

    def applied(self, outputs: Mapping[str, Array]) -> Arrays:
        made, point = dict(outputs), self.operating
        if isinstance(self.reading, Classification):
            shares = tempered(outputs["probabilities"], point.temperature)
            best = shares.argmax(axis=1)
            made["probabilities"] = shares
            if set(TOP) <= set(made):
                made[TOP[0]] = np.take_along_axis(shares, made[TOP[1]], axis=1)
            if point.thresholds is not None:
                sure = point.reached(shares.max(axis=1), best)
                made["class_id"] = np.where(sure, best, NOBODY)
        elif isinstance(self.reading, MultiLabel):
            shares = tempered_each(outputs["probabilities"], point.temperature)
            made["probabilities"] = shares
            if point.thresholds is None:
                made["present"] = shares >= self.reading.threshold
            else:
                kinds = np.broadcast_to(np.arange(shares.shape[1]), shares.shape)
                made["present"] = point.reached(shares, kinds)
        elif isinstance(self.reading, Detection) and point.thresholds is not None:
            scores = outputs["found_scores"]
            sure = point.reached(scores, outputs["found_classes"])
            made["found_scores"] = np.where(sure, scores, 0).astype(scores.dtype)
        return made

    def shown(self, outputs: Mapping[str, Value]) -> dict[str, Value]:
        return self._settled.shown(outputs)

    def describe(
        self, outputs: Mapping[str, Array], place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        """As the reading does; where a class is not sure enough, it is `unknown`."""
        told = self._settled.describe(outputs, place, classes)
        if told.get("class_id") == NOBODY:
            told = {**told, "class_id": None, "class": UNKNOWN}
        return told

    @property
    def _settled(self) -> Telling:
        """The reading, without a limit of its own where the point has them."""
        if isinstance(self.reading, Detection) and self.operating.thresholds is not None:
            return replace(self.reading, told_from=0.0)
        return self.reading


def operated(reading: Telling, told: Mapping[str, Any] | None, where: str) -> Telling:
    """The reading of a contract at the contract's operating point, where it has one."""
    return reading if told is None else Operated(reading, Operating.of_plain(told, where))


def tempered(shares: Array, temperature: float) -> Array:
    """Softmax of scores over the temperature, made of the softmax of the scores; along axis 1."""
    logs = np.log(np.maximum(shares.astype(np.float64), _LEAST_SHARE)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    made: Array = powers / powers.sum(axis=1, keepdims=True)
    return made


def tempered_each(shares: Array, temperature: float) -> Array:
    """The same for shares that stand each for itself."""
    wide = shares.astype(np.float64)
    logs = np.log(np.maximum(wide, _LEAST_SHARE)) - np.log(np.maximum(1 - wide, _LEAST_SHARE))
    made: Array = 0.5 * (1 + np.tanh(logs / (2 * temperature)))
    return made


def _threshold(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(value)
    return number
