"""Checks of a split as a whole: odd sizes, lengths, rates, values and numbers of boxes.

A thing is an outlier where it stands far outside of the middle half and apart from everything
else: a long tail, as real data has it, is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.data.doctor.facts import KINDS, Facts
from cvtrainer.data.doctor.finding import Finding, Severity, finding

_FACTOR = 4.0
_GAP = 2.0
_FEW = 0.02
_ENOUGH = 8
_MANY_BOXES = 1000


def check_distribution(part: Facts) -> Iterator[Finding]:
    """Everything that stands apart from its split."""
    yield from _picture_sizes(part)
    yield from _colours(part)
    yield from _lengths(part)
    yield from _rates(part)
    yield from _values(part)
    yield from _box_counts(part)
    yield from _point_counts(part)


def _of(part: Facts, check: str, row: int, what: str, **details: Any) -> Finding:
    return finding(check, part.split, what, row=row, file=part.name(row), details=details)


def apart(sizes: NDArray[np.float64], *, factor: float = _FACTOR) -> NDArray[np.int64]:
    """Places of the few positive numbers that are `factor` times above or below all others.

    They are found from the ends inwards: a gap that parts at most two of a hundred (or one).
    """
    if len(sizes) < _ENOUGH:
        return np.empty(0, dtype=np.int64)
    order = np.argsort(sizes, kind="stable")
    logs = np.log(np.maximum(sizes[order], 1e-9))
    middle = float(np.median(logs))
    spread = float(np.quantile(logs, 0.9) - np.quantile(logs, 0.1))
    allowed = max(int(len(sizes) * _FEW), 1)
    far = np.log(factor) + spread
    gaps = np.diff(logs)
    wide = np.log(_GAP)
    chosen: list[int] = []
    for cut in range(len(logs) - 1 - allowed, len(logs) - 1):
        if cut >= 0 and gaps[cut] >= wide and logs[cut + 1] - middle >= far:
            chosen.extend(order[cut + 1 :].tolist())
            break
    for cut in range(allowed - 1, -1, -1):
        if gaps[cut] >= wide and middle - logs[cut] >= far:
            chosen.extend(order[: cut + 1].tolist())
            break
    return np.asarray(sorted(set(chosen)), dtype=np.int64)


def _picture_sizes(part: Facts) -> Iterator[Finding]:
    rows = np.flatnonzero((part.height > 0) & (part.width > 0))
    if not len(rows):
        return
    height = part.height[rows].astype(np.float64)
    width = part.width[rows].astype(np.float64)
    side = np.sqrt(height * width)
    usual = float(np.median(side))
    for k in apart(side).tolist():
        row = int(rows[k])
        text = f"{part.width[row]}x{part.height[row]}"
        check = "tiny-image" if side[k] < usual else "size-outlier"
        yield _of(part, check, row, f"{text}, while others have about {usual:.0f} pixels a side")
    for k in apart(width / height).tolist():
        row = int(rows[k])
        yield _of(part, "aspect-outlier", row, f"{part.width[row]}x{part.height[row]}")


def _colours(part: Facts) -> Iterator[Finding]:
    pictures = np.flatnonzero(part.kind == KINDS.index("image"))
    grey = pictures[part.grey[pictures]]
    if len(pictures) >= _ENOUGH and 0 < len(grey) <= len(pictures) * 0.1:
        for row in grey.tolist():
            yield _of(part, "grey-among-colour", row, "grey, while the others are coloured")


def _lengths(part: Facts) -> Iterator[Finding]:
    for kind, check in (("sound", "sound-length"), ("series", "series-length")):
        rows = np.flatnonzero((part.kind == KINDS.index(kind)) & (part.length > 0))
        lengths = part.length[rows].astype(np.float64)
        for k in apart(lengths).tolist():
            row = int(rows[k])
            yield _of(
                part,
                check,
                row,
                f"{part.length[row]} values, while others have about {np.median(lengths):.0f}",
            )


def _rates(part: Facts) -> Iterator[Finding]:
    rows = np.flatnonzero(part.rate > 0)
    if not len(rows):
        return
    rates, counts = np.unique(part.rate[rows], return_counts=True)
    usual = int(rates[counts.argmax()])
    for row in rows[part.rate[rows] != usual].tolist():
        yield _of(part, "sound-rate", row, f"{part.rate[row]} Hz, while others have {usual} Hz")


def _values(part: Facts) -> Iterator[Finding]:
    rows = np.flatnonzero(np.isfinite(part.value))
    if len(rows) < _ENOUGH:
        return
    values = part.value[rows]
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    spread = max(high - low, 1e-12 + abs(middle) * 1e-6)
    off = np.abs(values - middle) / spread
    order = np.argsort(off)
    allowed = max(int(len(rows) * _FEW), 1)
    for cut in range(len(off) - 1 - allowed, len(off) - 1):
        if cut < 0 or off[order[cut + 1]] < 15 or off[order[cut + 1]] < 3 * max(off[order[cut]], 1):
            continue
        for k in sorted(order[cut + 1 :].tolist()):
            row = int(rows[k])
            yield _of(
                part,
                "value-outlier",
                row,
                f"target {part.value[row]:g}, while half of them lie in {low:g} to {high:g}",
                action="relabel",
            )
        return


def _box_counts(part: Facts) -> Iterator[Finding]:
    rows = np.flatnonzero(part.boxes >= 0)
    if not len(rows):
        return
    counts = part.boxes[rows].astype(np.float64)
    usual = float(np.median(counts))
    odd = {int(k) for k in apart(counts + 1.0).tolist() if counts[k] > usual + 20}
    odd |= set(np.flatnonzero(counts > max(_MANY_BOXES, 4 * usual)).tolist())
    for k in sorted(odd):
        row = int(rows[k])
        yield _of(part, "box-count", row, f"{int(counts[k])} boxes, others have about {usual:.0f}")
    empty = rows[counts == 0]
    if len(empty):
        yield finding(
            "no-boxes",
            part.split,
            f"{len(empty)} of {len(rows)} pictures have no boxes, such as "
            f"{part.name(int(empty[0]))}",
            severity=Severity.NOTE,
            details={"rows": empty[:1000].tolist()},
        )


def _point_counts(part: Facts) -> Iterator[Finding]:
    rows = np.flatnonzero(part.points > 0)
    if not len(rows):
        return
    numbers, counts = np.unique(part.points[rows], return_counts=True)
    usual = int(numbers[counts.argmax()])
    if counts.max() < 0.8 * len(rows) or usual == 0:
        return
    for row in rows[part.points[rows] % usual != 0].tolist():
        yield _of(part, "keypoint-count", row, f"{part.points[row]} keypoints, others have {usual}")
