"""Lays two traces beside each other and finds the first place where they part.

Border by border the checksums of everything that moves, batch by batch what was served. What
varies between two straight runs although nothing else does (a speed, a time) is nobody's fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cvtrainer.jobs.verify_resume.orders import Border

Record = Mapping[str, Any]
_COMPARED = ("border", "batch")
_MAY_VARY = ("hooks/", "metrics/")


@dataclass(frozen=True)
class Parting:
    """Where two runs part: the last border at which they were equal, and what then differs."""

    before: Border | None
    """None: they differ from the first border on."""
    record: Record
    what: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Leaves with their two texts; empty where one run did something else altogether."""

    @property
    def is_batch(self) -> bool:
        return bool(self.record["kind"] == "batch" and self.what)


def first_parting(
    straight: Sequence[Record],
    other: Sequence[Record],
    *,
    varying: frozenset[str] = frozenset(),
    to_the_end: bool = True,
) -> Parting | None:
    """None where `other` does what `straight` does from its first border on."""
    left = [record for record in straight if record["kind"] in _COMPARED]
    right = [record for record in other if record["kind"] in _COMPARED]
    if not right:
        return None
    begin = next((at for at, one in enumerate(left) if _key(one) == _key(right[0])), None)
    if begin is None:
        return Parting(None, right[0])
    left = left[begin:]
    before: Border | None = None
    for one, two in zip(left, right, strict=False):
        if _key(one) != _key(two):
            return Parting(before, one)
        what = differing(_content(one), _content(two), varying)
        if what:
            return Parting(before, one, what)
        if one["kind"] == "border":
            before = Border.of(one["border"])
    if len(right) > len(left):
        return Parting(before, right[len(left)])
    if to_the_end and len(left) > len(right):
        return Parting(before, left[len(right)])
    return None


def differing(
    one: Mapping[str, str], two: Mapping[str, str], varying: frozenset[str] = frozenset()
) -> dict[str, tuple[str, str]]:
    """The leaves whose texts differ, or that only one side has."""
    return {
        path: (one.get(path, "absent"), two.get(path, "absent"))
        for path in dict.fromkeys((*one, *two))
        if path not in varying and one.get(path) != two.get(path)
    }


def varying_leaves(one: Sequence[Record], two: Sequence[Record]) -> frozenset[str]:
    """Leaves of hooks and metrics that differ although all else of the two runs is the same."""
    left = [record for record in one if record["kind"] in _COMPARED]
    right = [record for record in two if record["kind"] in _COMPARED]
    found: set[str] = set()
    for first, second in zip(left, right, strict=False):
        found |= differing(_content(first), _content(second)).keys()
    if all(path.startswith(_MAY_VARY) for path in found):
        return frozenset(found)
    return frozenset()


def first_moment(one: Sequence[Record], two: Sequence[Record]) -> tuple[Record, Record] | None:
    """The first moment (or layer) after which two runs that came from equal states differ."""
    for first, second in zip(one, two, strict=False):
        if dict(first) != dict(second):
            return first, second
    if len(one) != len(two):
        longer, shorter = (one, two) if len(one) > len(two) else (two, one)
        last = shorter[-1] if shorter else longer[0]
        return last, longer[len(shorter)]
    return None


def log_partings(
    straight: Sequence[Record], other: Sequence[Record], again: Sequence[Record]
) -> list[tuple[int, str, Any, Any]]:
    """Logged values that differ: line number, key and both; what also varies between two straight
    runs is left out."""
    keys = {"run", "time"}
    for one, two in zip(straight, again, strict=False):
        keys |= {key for key in {*one, *two} if one.get(key) != two.get(key)}
    found = [
        (number, key, one.get(key, "absent"), two.get(key, "absent"))
        for number, (one, two) in enumerate(zip(straight, other, strict=False), start=1)
        for key in dict.fromkeys((*one, *two))
        if key not in keys and one.get(key) != two.get(key)
    ]
    if len(straight) != len(other):
        number = min(len(straight), len(other)) + 1
        found.append((number, "lines", len(straight), len(other)))
    return found


def _key(record: Record) -> tuple[Any, ...]:
    border = tuple(record["border"])
    if record["kind"] == "border":
        return ("border", border)
    return ("batch", border, record["phase"], record["number"])


def _content(record: Record) -> Mapping[str, str]:
    content: Mapping[str, str] = record["state" if record["kind"] == "border" else "content"]
    return content
