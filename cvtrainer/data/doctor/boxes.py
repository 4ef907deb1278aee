"""Checks of one sample's boxes: numbers, order of corners, area, place, repetition, labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.data.doctor.finding import ERROR, Finding
from cvtrainer.data.doctor.of_sample import of_sample
from cvtrainer.data.survey import Sight

_SLACK = 1.0
"""Pixels by which a box may leave its picture: 1-based corners and rounding are no defects."""


def check_boxes(sight: Sight) -> Iterator[Finding]:
    """Everything wrong with the boxes of a sample."""
    boxes = as_boxes(sight.boxes)
    if boxes is None:
        return
    labels = sight.box_labels
    if labels is not None and len(np.atleast_1d(labels)) != len(boxes):
        yield of_sample(sight, "box-labels", f"{len(boxes)} boxes, but {len(labels)} labels")
    finite: NDArray[Any] = np.asarray(np.isfinite(boxes).all(axis=1))
    for place in np.flatnonzero(~finite).tolist():
        yield _box(sight, "box-not-finite", place, boxes, "is no number", "remove-box")
    sides = np.where(finite[:, None], boxes[:, 2:] - boxes[:, :2], 1.0)
    inverted = finite & (sides < 0).any(axis=1)
    for place in np.flatnonzero(inverted).tolist():
        yield _box(sight, "box-inverted", place, boxes, "has its corners exchanged", "swap-corners")
    flat = finite & ~inverted & (sides == 0).any(axis=1)
    for place in np.flatnonzero(flat).tolist():
        yield _box(sight, "box-zero-area", place, boxes, "has no area", "remove-box")
    tiny = finite & ~inverted & ~flat & (sides < 1.0).any(axis=1)
    for place in np.flatnonzero(tiny).tolist():
        yield _box(sight, "box-tiny", place, boxes, "is less than a pixel", "remove-box")
    yield from _outside(sight, boxes, finite & ~inverted)
    yield from _repeated(sight, boxes, labels, finite)


def as_boxes(value: Any) -> NDArray[np.float64] | None:
    """Boxes as n x 4, whatever form they came in; None where there are none to judge."""
    if value is None:
        return None
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if found.size % 4:
        return None
    return found.reshape(-1, 4)


def _outside(sight: Sight, boxes: NDArray[np.float64], judged: NDArray[Any]) -> Iterator[Finding]:
    if sight.size is None:
        return
    height, width = sight.size
    limits = np.array([width, height, width, height], dtype=np.float64)
    safe = np.where(judged[:, None], boxes, 0.0)
    leaves = judged & ((safe < -_SLACK) | (safe > limits + _SLACK)).any(axis=1)
    for place in np.flatnonzero(leaves).tolist():
        x1, y1, x2, y2 = boxes[place]
        gone = x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height
        clipped = np.clip(boxes[place], 0, limits).tolist()
        yield of_sample(
            sight,
            "box-outside",
            f"box {place} {_text(boxes[place])} "
            f"{'lies outside of' if gone else 'leaves'} the {width}x{height} picture",
            severity=ERROR if gone else None,
            action="remove-box" if gone else "clip",
            box=place,
            **({} if gone else {"to": clipped}),
        )


def _repeated(
    sight: Sight, boxes: NDArray[np.float64], labels: Any, finite: NDArray[Any]
) -> Iterator[Finding]:
    named = labels is not None and len(np.atleast_1d(labels)) == len(boxes)
    first: dict[tuple[float, ...], int] = {}
    for place in np.flatnonzero(finite).tolist():
        key = tuple(boxes[place].tolist())
        if named:
            key += (float(np.atleast_1d(labels)[place]),)
        before = first.setdefault(key, place)
        if before != place:
            yield _box(sight, "box-duplicate", place, boxes, f"repeats box {before}", "remove-box")


def _box(
    sight: Sight, check: str, place: int, boxes: NDArray[np.float64], what: str, action: str
) -> Finding:
    extra: dict[str, Any] = {}
    if action == "swap-corners":
        x1, y1, x2, y2 = boxes[place].tolist()
        extra["to"] = [min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)]
    text = f"box {place} {_text(boxes[place])} {what}"
    return of_sample(sight, check, text, action=action, box=place, **extra)


def _text(box: NDArray[np.float64]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box.tolist()) + "]"
