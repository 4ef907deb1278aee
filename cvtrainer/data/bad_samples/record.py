"""What is said of a sample that cannot be used, and which one stands in for it."""

from __future__ import annotations

from dataclasses import dataclass

from cvtrainer.core.seeds import mix

_PLACE = 0x0BAD


@dataclass(frozen=True)
class BadRecord:
    """One sample that was replaced, and why."""

    index: int
    file: str
    kind: str
    reason: str


def replacement(seed: int, number: int, attempt: int, length: int) -> int:
    """The sample to try for `number` at that attempt (from 1): a pure function."""
    return mix(seed, number, attempt, _PLACE) % length
