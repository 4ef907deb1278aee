"""One class per sample, or any number of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.telling.reading import (
    Array,
    Arrays,
    Telling,
    best_places,
    class_name,
    output_named,
    share_of,
    shares_of,
)

TOP = ("top_probabilities", "top_classes")
"""Outputs that an artefact can have beside what is decoded: its best classes, best first."""


@dataclass(frozen=True)
class Classification(Telling):
    """Scores `[N, C]` or `[N, C, ...]`; the `top` classes are told."""

    kind: ClassVar[str] = "classification"
    DECODED: ClassVar[tuple[str, ...]] = ("probabilities", "class_id")
    output: str = "output"
    top: int = 5

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UserError(f"task classification: top is {self.top}; give 1 or more")

    def decode(self, outputs: Mapping[str, Array]) -> Arrays:
        shares = shares_of(output_named(outputs, self.output, "classification"), axis=1)
        return {"probabilities": shares, "class_id": shares.argmax(axis=1)}

    def describe(
        self, outputs: Mapping[str, Array], place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        shares = outputs["probabilities"][place]
        if shares.ndim > 1:
            each = shares.reshape(len(shares), -1).T
            return {"places": [self._told(one, classes) for one in each]}
        return {"class_id": int(outputs["class_id"][place]), **self._told(shares, classes)}

    def _told(self, shares: Array, classes: Sequence[str] | None) -> dict[str, Any]:
        ranked = [
            {"class": class_name(number, classes), "probability": float(shares[number])}
            for number in best_places(shares, self.top).tolist()
        ]
        return {**ranked[0], "top": ranked}


@dataclass(frozen=True)
class MultiLabel(Telling):
    """Scores `[N, C]`; told are the classes from `threshold` on."""

    kind: ClassVar[str] = "multi_label"
    DECODED: ClassVar[tuple[str, ...]] = ("probabilities", "present")
    output: str = "output"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise UserError(f"task multi_label: threshold is {self.threshold}; give 0 to 1")

    def decode(self, outputs: Mapping[str, Array]) -> Arrays:
        shares = share_of(output_named(outputs, self.output, "multi_label"))
        return {"probabilities": shares, "present": shares >= self.threshold}

    def describe(
        self, outputs: Mapping[str, Array], place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        shares = outputs["probabilities"][place].tolist()
        there = np.flatnonzero(outputs["present"][place]).tolist()
        return {
            "classes": [
                {"class": class_name(number, classes), "probability": shares[number]}
                for number in sorted(there, key=lambda number: -shares[number])
            ]
        }
