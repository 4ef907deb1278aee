"""Classes and groups over all splits: what is missing, unused, rare, or on both sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cvtrainer.data.doctor.facts import Facts
from cvtrainer.data.doctor.finding import Finding, finding

_IMBALANCE = 20.0


def check_classes(parts: Sequence[Facts], *, complete: bool = True) -> Iterator[Finding]:
    """Classes without samples, in a split or anywhere; `complete` says that all splits are here."""
    named = [part for part in parts if part.subject.classes]
    if not named:
        return
    names = max((part.subject.classes for part in named), key=len)
    total = np.zeros(len(names), dtype=np.int64)
    for part in named:
        total[: len(part.class_counts)] += part.class_counts
    if not total.any():
        return
    for number in np.flatnonzero(total == 0).tolist():
        yield finding("unused-class", named[0].split, f"no sample of class {names[number]}")
    for part in named:
        for number, count in enumerate(part.class_counts.tolist()):
            if not count and total[number] and len(named) > 1:
                yield finding(
                    "class-missing",
                    part.split,
                    f"no sample of class {names[number]}, of which other splits have "
                    f"{int(total[number])}",
                )
    if not complete:
        return
    first = named[0]
    counts = first.class_counts
    if len(counts) > 1 and counts.min() > 0 and counts.max() / counts.min() >= _IMBALANCE:
        most, least = int(counts.argmax()), int(counts.argmin())
        yield finding(
            "imbalance",
            first.split,
            f"{names[most]} has {counts[most]} samples, {names[least]} has {counts[least]}",
        )


def check_groups(parts: Sequence[Facts]) -> Iterator[Finding]:
    """Groups (a patient, a video) that stand in two splits."""
    where: dict[Any, tuple[str, int, int]] = {}
    told: set[tuple[Any, str]] = set()
    for part in parts:
        groups = getattr(part.subject.dataset, "groups", None)
        if groups is None:
            continue
        counts: dict[Any, int] = {}
        for group in groups:
            counts[group] = counts.get(group, 0) + 1
        for row, group in enumerate(groups):
            if group is None or group == "":
                continue
            split, first, _ = where.setdefault(group, (part.split, row, counts[group]))
            if split != part.split and (group, part.split) not in told:
                told.add((group, part.split))
                yield finding(
                    "group-leak",
                    part.split,
                    f"group {group!r} has {counts[group]} samples here and others in {split}",
                    row=row,
                    file=part.name(row),
                    details={"action": "move", "group": str(group), "to": split, "first": first},
                )
