"""The search for the largest batch: powers of two, then bisection, then a confirmation.

Sizes are looked at in a grain of a sixteenth of their power of two: nearer to the limit there is
nothing to gain. A size that fails is tried once more before it is believed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["fits", "out of memory"]

_GRAINS = 16


@dataclass(frozen=True)
class Try:
    """One size in one fresh process."""

    batch: int
    verdict: Verdict
    peak_bytes: int | None = None
    images_per_s: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Answer:
    """The largest size that was confirmed; `all_there_is`: nothing larger was to be tried."""

    batch: int
    all_there_is: bool


Attempt = Callable[[int, bool], Try]
"""Runs a size, short or to confirm it."""


def find_largest(attempt: Attempt, *, start: int, most: Callable[[], int]) -> Answer | None:
    """Search from `start` on; None where not even one sample fits."""

    def fits(size: int, *, confirming: bool = False) -> bool:
        if attempt(size, confirming).verdict == "fits":
            return True
        return attempt(size, confirming).verdict == "fits"

    low, high = _bracket(fits, start, most)
    while high is not None and high - low > _grain(low):
        middle = _rounded((low + high) // 2, low, high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    while low and not fits(low, confirming=True):
        high, low = low, _below(low)
    return Answer(low, all_there_is=high is None) if low else None


def _bracket(
    fits: Callable[[int], bool], start: int, most: Callable[[], int]
) -> tuple[int, int | None]:
    """A power of two that fits (0: none), and the next one, which does not (None: no need)."""
    size = power_of_two(start)
    if not fits(size):
        while size > 1:
            size //= 2
            if fits(size):
                return size, size * 2
        return 0, 1
    while size < most():
        larger = min(size * 2, most())
        if not fits(larger):
            return size, larger
        size = larger
    return size, None


def power_of_two(size: int) -> int:
    """The largest one that is not above that size."""
    return 1 << (max(size, 1).bit_length() - 1)


def _grain(size: int) -> int:
    return max(1, power_of_two(size) // _GRAINS) if size else 1


def _rounded(middle: int, low: int, high: int) -> int:
    """A multiple of the grain between the two, neither of them."""
    grain = _grain(low)
    return min(max(middle // grain * grain, low + grain), high - 1)


def _below(size: int) -> int:
    """The next smaller size that is worth trying."""
    return max(size - _grain(size - 1), 0)
