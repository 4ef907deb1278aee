"""The examination: every sample of every split looked at once by threads, then the whole set.

Nothing is changed. What stays in memory is a short fact per sample and the findings.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from cvtrainer.data.doctor.boxes import check_boxes
from cvtrainer.data.doctor.classes import check_classes, check_groups
from cvtrainer.data.doctor.distribution import check_distribution
from cvtrainer.data.doctor.duplicates import check_duplicates
from cvtrainer.data.doctor.facts import KINDS, Fact, Facts, fact_of
from cvtrainer.data.doctor.files import check_header, check_troubles
from cvtrainer.data.doctor.finding import CHECKS, NOTE, WARNING, Finding, Severity
from cvtrainer.data.doctor.folders import check_left_out, check_unreferenced
from cvtrainer.data.doctor.inputs import check_input
from cvtrainer.data.doctor.targets import (
    check_instances,
    check_keypoints,
    check_labels,
    check_mask,
    check_value,
)
from cvtrainer.data.survey import Sight, Subject, in_order, look
from cvtrainer.data.survey.threads import thread_count

_RANK = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}
_COMMON = 0.05
"""From this share of a split on, a thing is its nature and a note instead of a warning."""
_NATURAL = ("mask-one-class", "repeated-label", "sound-clipped", "instance-overlap", "not-finite")
_SUMMED_UP = ("not-finite",)

Progress = Callable[[str, int, int], None]


def examine(
    subjects: Sequence[Subject],
    *,
    threads: int | None = None,
    near: bool = True,
    complete: bool = True,
    progress: Progress | None = None,
) -> list[Finding]:
    """All findings, the gravest first.

    `near` compares pictures, `complete` says that these splits are all there are, so that a file
    in none of them is worth a word.
    """
    found: list[Finding] = []
    parts: list[Facts] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for subject in subjects:
            facts = Facts(subject)
            with subject.as_filed():
                own = list(_each_sample(subject, facts, threads, near=near, progress=progress))
            found += _by_nature(own, len(subject))
            found += check_distribution(facts)
            parts.append(facts)
        found += check_classes(parts, complete=complete)
        found += check_groups(parts)
        found += _by_chance(list(check_duplicates(parts)), parts)
    found += check_left_out(subjects)
    if complete:
        found += check_unreferenced(subjects)
    return sorted(found, key=lambda one: _RANK[one.severity])


def _each_sample(
    subject: Subject,
    facts: Facts,
    threads: int | None,
    *,
    near: bool,
    progress: Progress | None,
) -> Iterator[Finding]:
    def work(row: int) -> tuple[list[Finding], Fact, list[int]]:
        sight = look(subject, row, deep=True)
        fact, classes = fact_of(sight, signed=near)
        return list(check_sample(sight, subject.classes)), fact, classes

    count = len(subject)
    usable = thread_count(threads) if subject.thread_safe else 1
    for row, (own, fact, classes) in enumerate(in_order(work, count, threads=usable)):
        facts.put(row, fact, classes)
        yield from own
        if progress is not None:
            progress(subject.split, row + 1, count)


def check_sample(sight: Sight, classes: Sequence[str]) -> Iterator[Finding]:
    """Everything wrong with one sample by itself."""
    yield from check_troubles(sight)
    yield from check_header(sight)
    yield from check_input(sight)
    yield from check_labels(sight, classes)
    yield from check_boxes(sight)
    yield from check_mask(sight, classes)
    yield from check_instances(sight)
    yield from check_keypoints(sight)
    yield from check_value(sight)


def _by_nature(found: list[Finding], count: int) -> Iterator[Finding]:
    """What many samples of a split have is how the data is: a note and no warning."""
    rows: dict[str, set[int | None]] = {}
    for one in found:
        rows.setdefault(one.check, set()).add(one.row)
    limit = max(_COMMON * count, 3)
    told: set[str] = set()
    for one in found:
        common = one.check in _NATURAL and len(rows[one.check]) > limit
        if not common or one.severity is not WARNING:
            yield one
            continue
        if one.check in _SUMMED_UP and one.check not in told:
            told.add(one.check)
            some = f"{len(rows[one.check])} of {count} samples: {CHECKS[one.check][1]}"
            yield replace(one, what=some, row=None, file=None, details={})
        yield _noted(one)


def _by_chance(found: list[Finding], parts: Sequence[Facts]) -> Iterator[Finding]:
    """Rows of numbers may be equal, and rows of equal numbers have other outcomes: where many
    are, that is how the data is."""
    vectors = {part.split for part in parts if (part.kind == KINDS.index("vector")).mean() > 0.5}
    rows = {(one.split, one.row) for one in found}
    common = len(rows) > _COMMON * sum(len(part) for part in parts)
    for one in found:
        if one.split not in vectors or one.severity is NOTE:
            yield one
        elif common:
            yield _noted(one)
        else:
            yield replace(one, severity=WARNING) if one.check == "label-conflict" else one


def _noted(one: Finding) -> Finding:
    return replace(one, severity=NOTE)


def count_by_severity(found: Sequence[Finding]) -> dict[str, int]:
    """How many there are of each."""
    return {
        severity.value: int(np.sum([one.severity is severity for one in found]))
        for severity in Severity
    }
