"""Checks of one sample's other targets: classes, masks, keypoints and values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cvtrainer.data.doctor.finding import Finding
from cvtrainer.data.doctor.of_sample import of_sample
from cvtrainer.data.survey import Sight

IGNORED = 255
"""The mask value that means: do not judge this pixel."""
_COVERED = 0.5
_MANY = 64


def check_labels(sight: Sight, classes: Sequence[str]) -> Iterator[Finding]:
    """Class numbers outside of the classes, none at all, or one twice."""
    told = any(trouble.kind == "label" for trouble in sight.troubles)
    for name in ("class_id", "class_ids", "box_labels"):
        value = sight.target.get(name)
        if value is None:
            continue
        try:
            numbers = np.atleast_1d(np.asarray(value, dtype=np.int64))
        except (TypeError, ValueError):
            continue
        wrong = sorted({int(n) for n in numbers if classes and not 0 <= n < len(classes)})
        if wrong and not told:
            text = ", ".join(map(str, wrong))
            yield of_sample(
                sight,
                "label-range",
                f"class number {text} is outside of the {len(classes)} classes",
                action="relabel",
            )
        if name == "class_ids":
            if not len(numbers):
                yield of_sample(sight, "no-labels", "the sample has no class")
            elif len(set(numbers.tolist())) < len(numbers):
                yield of_sample(sight, "repeated-label", "the same class twice", action="relabel")


def check_mask(sight: Sight, classes: Sequence[str]) -> Iterator[Finding]:
    """A mask's size and values."""
    mask = sight.target.get("mask")
    if not isinstance(mask, np.ndarray) or mask.ndim != 2:
        return
    size = sight.size
    if size is not None and mask.shape != size:
        yield of_sample(
            sight,
            "mask-size",
            f"the mask is {mask.shape[1]}x{mask.shape[0]}, but the picture {size[1]}x{size[0]}",
        )
    counts = np.bincount(mask.ravel(), minlength=1)
    present = np.flatnonzero(counts).tolist()
    strange = [v for v in present if classes and v >= len(classes) and v != IGNORED]
    if strange:
        text = ", ".join(map(str, strange[:8])) + (", …" if len(strange) > 8 else "")
        yield of_sample(
            sight,
            "mask-values",
            f"mask values {text} are none of the {len(classes)} classes",
            action="relabel",
            values=strange,
        )
    judged = [value for value in present if value != IGNORED]
    if len(judged) <= 1 and not strange:
        what = f"class {_name(judged[0], classes)} all over" if judged else "ignored all over"
        yield of_sample(sight, "mask-one-class", f"the mask is {what}", action="remove")


def check_instances(sight: Sight) -> Iterator[Finding]:
    """Masks of single objects: empty ones, those on top of each other, their number."""
    masks = sight.target.get("masks")
    if masks is None or not hasattr(masks, "__len__"):
        return
    for name in ("boxes", "box_labels"):
        other = sight.target.get(name)
        if other is not None and len(other) != len(masks):
            yield of_sample(sight, "instance-count", f"{len(masks)} masks, but {len(other)} {name}")
    if sight.mask_files is not None and sight.mask_files > len(masks):
        lost = sight.mask_files - len(masks)
        yield of_sample(
            sight, "instance-empty", f"{lost} of {sight.mask_files} mask files have no pixel"
        )
    if not len(masks):
        return
    stack = np.asarray(masks)
    if stack.ndim != 3:
        return
    if sight.size is not None and stack.shape[1:] != sight.size:
        yield of_sample(
            sight,
            "mask-size",
            f"masks are {stack.shape[2]}x{stack.shape[1]}, but the picture "
            f"{sight.size[1]}x{sight.size[0]}",
        )
    areas = np.count_nonzero(stack.reshape(len(stack), -1), axis=1)
    for place in np.flatnonzero(areas == 0).tolist():
        yield of_sample(
            sight, "instance-empty", f"mask {place} has no pixel", action="remove-object", box=place
        )
    if len(stack) <= _MANY:
        yield from _overlapping(sight, stack.astype(bool), areas)


def _overlapping(sight: Sight, stack: Any, areas: Any) -> Iterator[Finding]:
    """Pairs of which one covers half of the other."""
    if int(stack.sum(axis=0, dtype=np.int32).max()) < 2:
        return
    flat = stack.reshape(len(stack), -1).astype(np.float32)
    shared = flat @ flat.T
    for one in range(len(flat)):
        for other in range(one + 1, len(flat)):
            least = min(areas[one], areas[other])
            if least and shared[one, other] / least >= _COVERED:
                share = shared[one, other] / least
                yield of_sample(
                    sight,
                    "instance-overlap",
                    f"masks {one} and {other} share {share:.0%} of the smaller",
                    action="remove-object",
                    box=other,
                )


def check_keypoints(sight: Sight) -> Iterator[Finding]:
    """Places and visibility of keypoints."""
    value = sight.target.get("keypoints")
    if value is None or not np.size(value) or np.size(value) % 3:
        return
    points = np.asarray(value, dtype=np.float64).reshape(-1, 3)
    visible = points[:, 2]
    finite = np.isfinite(points).all(axis=1)
    for place in np.flatnonzero(~finite).tolist():
        yield of_sample(sight, "keypoint-not-finite", f"keypoint {place} is no number", point=place)
    flags = finite & ~np.isin(visible, (0.0, 1.0, 2.0))
    for place in np.flatnonzero(flags).tolist():
        yield of_sample(
            sight,
            "keypoint-flag",
            f"keypoint {place} has visibility {visible[place]:g}, not 0, 1 or 2",
            action="relabel",
            point=place,
        )
    if sight.size is None:
        return
    height, width = sight.size
    x, y = points[:, 0], points[:, 1]
    out = finite & (visible > 0) & ((x < -1) | (y < -1) | (x > width + 1) | (y > height + 1))
    for place in np.flatnonzero(out).tolist():
        yield of_sample(
            sight,
            "keypoint-outside",
            f"keypoint {place} ({x[place]:g}, {y[place]:g}) lies outside of the "
            f"{width}x{height} picture",
            action="clip",
            point=place,
            to=[float(np.clip(x[place], 0, width)), float(np.clip(y[place], 0, height))],
        )


def check_value(sight: Sight) -> Iterator[Finding]:
    """A regression target that is no number."""
    value = sight.target.get("value")
    if value is None or any(trouble.kind == "value" for trouble in sight.troubles):
        return
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        yield of_sample(
            sight, "value-not-finite", f"the target {value!r} is no number", action="remove"
        )
        return
    if not np.isfinite(numbers).all():
        yield of_sample(sight, "value-not-finite", f"the target is {value}", action="remove")


def _name(number: int, classes: Sequence[str]) -> str:
    return f"{number} ({classes[number]})" if number < len(classes) else str(number)
