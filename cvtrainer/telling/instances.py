"""Objects in a picture, each with its mask: a box, a class, a score and the places it covers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.telling.borders import polygons_of
from cvtrainer.telling.detection import Detection, rows_at
from cvtrainer.telling.reading import Array, Arrays, Value, part_of_head
from cvtrainer.telling.runs import run_text, runs_of

FORMS = ("runs", "polygons", "none")


@dataclass(frozen=True)
class Instances(Detection):
    """What detection finds, and a mask for each; `masks` says how it is told."""

    kind: ClassVar[str] = "instances"
    IN_PICTURE: ClassVar[Mapping[str, str]] = {"found_boxes": "boxes", "found_masks": "masks"}
    DECODED: ClassVar[tuple[str, ...]] = (*Detection.DECODED, "found_masks")
    masks: str = "runs"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.masks not in FORMS:
            raise UserError(
                f"task instances: masks is {self.masks!r}; it can be {', '.join(FORMS)}"
            )

    def decode(self, outputs: Mapping[str, Array]) -> Arrays:
        found, places = self.found(outputs)
        coefficients = part_of_head(outputs, "coefficients", "instances").astype(np.float32)
        prototypes = part_of_head(outputs, "prototypes", "instances").astype(np.float32)
        height, width = part_of_head(outputs, "inside", "instances").shape[-2:]
        flat = prototypes.reshape(*prototypes.shape[:2], -1)
        scores = rows_at(coefficients, places) @ flat
        scores = scores.reshape(*scores.shape[:2], *prototypes.shape[-2:])
        large = _enlarged(scores, 1 << (-(-width // scores.shape[-1]) - 1).bit_length())
        masks = (large[..., :height, :width] > 0) & _within(found["found_boxes"], height, width)
        there = (found["found_scores"] > 0)[..., None, None]
        return {**found, "found_masks": masks & there}

    def shown(self, outputs: Mapping[str, Value]) -> dict[str, Value]:
        """Only the objects that are told, of a batch of one: masks of others are large nothings."""
        values: Mapping[str, Any] = outputs
        scores = values["found_scores"][0]
        told = (scores > 0) & (scores >= self.told_from)
        return {
            name: value[:, told] if name in self.DECODED else value
            for name, value in values.items()
        }

    def describe(
        self, outputs: Mapping[str, Array], place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        """Objects from the score `told_from` on, with the places each covers."""
        told = super().describe(outputs, place, classes)
        for one, mask in zip(told["objects"], outputs["found_masks"][place], strict=False):
            one["area"] = int(mask.sum())
            if self.masks == "runs":
                one["mask"] = {"size": list(mask.shape), "counts": run_text(runs_of(mask))}
            elif self.masks == "polygons":
                one["polygons"] = polygons_of(mask)
        return told


def _enlarged(maps: Array, factor: int) -> Array:
    """Maps `[..., h, w]` so many times as large, bilinear between the centres of places."""
    for axis in (-2, -1):
        length = maps.shape[axis]
        at = ((np.arange(length * factor, dtype=np.float32) + 0.5) / factor - 0.5).clip(min=0)
        low = at.astype(np.intp)
        high = np.minimum(low + 1, length - 1)
        shape = (-1, 1) if axis == -2 else (-1,)
        share = (at - low).astype(np.float32).reshape(shape)
        maps = maps.take(low, axis) * (1 - share) + maps.take(high, axis) * share
    return maps


def _within(boxes: Array, height: int, width: int) -> Array:
    """Which places lie in boxes `[..., 4]`."""
    x, y = np.arange(width) + np.float32(0.5), np.arange(height) + np.float32(0.5)
    left, top, right, bottom = (boxes[..., edge, None] for edge in range(4))
    columns = (x >= left) & (x <= right)
    rows = (y >= top) & (y <= bottom)
    inside: Array = rows[..., :, None] & columns[..., None, :]
    return inside
