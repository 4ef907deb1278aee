"""Objects in a picture: a box, a class and a score each."""

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
    part_of_head,
    share_of,
    shares_of,
)

_ROUNDS = 12
"""Suppression settles one link of a chain of overlaps per round, as `ops.boxes` does."""


@dataclass(frozen=True)
class Detection(Telling):
    """Scores, anchors and distances of a dense head; see the task of that name."""

    kind: ClassVar[str] = "detection"
    IN_PICTURE: ClassVar[Mapping[str, str]] = {"found_boxes": "boxes"}
    DECODED: ClassVar[tuple[str, ...]] = ("found_boxes", "found_scores", "found_classes")
    threshold: float = 0.01
    max_overlap: float = 0.6
    most: int = 100
    candidates: int = 300
    told_from: float = 0.25

    def __post_init__(self) -> None:
        for name in ("threshold", "max_overlap", "told_from"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UserError(f"task detection: {name} is {value}; give 0 to 1")
        if self.most < 1 or self.candidates < self.most:
            raise UserError(
                f"task detection: most is {self.most}, candidates {self.candidates}; "
                "give 1 or more, and no fewer candidates than that"
            )

    def decode(self, outputs: Mapping[str, Array]) -> Arrays:
        return self.found(outputs)[0]

    def found(self, outputs: Mapping[str, Array]) -> tuple[Arrays, Array]:
        """What decoding adds, and the places `[N, K]` of the head that found it."""
        scores = share_of(part_of_head(outputs, "scores", "detection").astype(np.float32))
        anchors = part_of_head(outputs, "anchors", "detection")
        distances = part_of_head(outputs, "distances", "detection").astype(np.float32)
        classes = scores.shape[2]
        flat = scores.reshape(len(scores), -1)
        chosen = best_places(flat, self.candidates)
        best = np.take_along_axis(flat, chosen, axis=1)
        place, kind = chosen // classes, chosen % classes
        boxes = _boxes_around(anchors[place], _mean_distances(rows_at(distances, place)))
        kept = _kept(boxes, kind, self.max_overlap) & (best >= self.threshold)
        left = best * kept
        order = best_places(left, self.most)
        return {
            "found_boxes": rows_at(boxes, order),
            "found_scores": np.take_along_axis(left, order, axis=1),
            "found_classes": np.take_along_axis(kind, order, axis=1),
        }, np.take_along_axis(place, order, axis=1)

    def describe(
        self, outputs: Mapping[str, Array], place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        """Objects from the score `told_from` on."""
        rows = zip(
            outputs["found_boxes"][place].tolist(),
            outputs["found_scores"][place].tolist(),
            outputs["found_classes"][place].tolist(),
            strict=True,
        )
        return {
            "objects": [
                {"class": class_name(kind, classes), "score": score, "box": box}
                for box, score, kind in rows
                if score > 0 and score >= self.told_from
            ]
        }


def rows_at(rows: Array, places: Array) -> Array:
    """Rows `[N, A, D]` at places `[N, K]`."""
    return np.take_along_axis(rows, places[..., None], axis=1)


def _mean_distances(distances: Array) -> Array:
    bins = distances.shape[-1] // 4
    shares = shares_of(distances.reshape(*distances.shape[:-1], 4, bins), axis=-1)
    mean: Array = (shares * np.arange(bins, dtype=shares.dtype)).sum(axis=-1)
    return mean


def _boxes_around(anchors: Array, steps: Array) -> Array:
    centre, stride = anchors[..., :2], anchors[..., 2:]
    left_top, right_bottom = centre - steps[..., :2] * stride, centre + steps[..., 2:] * stride
    return np.concatenate((left_top, right_bottom), axis=-1)


def _kept(boxes: Array, classes: Array, limit: float) -> Array:
    """Which boxes, best first, no better one of the same class that stays overlaps by more."""
    count = boxes.shape[1]
    better = np.tril(np.ones((count, count), bool), -1)
    rivals = (_overlap(boxes) > limit) & (classes[..., :, None] == classes[..., None, :]) & better
    kept = np.ones(boxes.shape[:2], bool)
    for _ in range(_ROUNDS):
        kept = ~(rivals & kept[:, None, :]).any(axis=2)
    return kept


def _overlap(boxes: Array) -> Array:
    left_top = np.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    right_bottom = np.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    both = (right_bottom - left_top).clip(min=0).prod(axis=-1)
    area = (boxes[..., 2:] - boxes[..., :2]).clip(min=0).prod(axis=-1)
    overlap: Array = both / (area[:, :, None] + area[:, None, :] - both).clip(min=1e-9)
    return overlap
