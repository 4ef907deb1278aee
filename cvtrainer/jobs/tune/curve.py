"""From the losses of a range test to two suggestions, by rules that are written down here.

The curve is an exponential average to both sides with its bias corrected: to one side alone it
would lag behind and suggest too much. *Steepest*: the rate at which it falls fastest per decade
(per unit in linear mode), before it first turns up again. *Valley*: the middle of the longest
falling series on the way down, which a single lucky batch moves less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SMOOTHING = 0.85
SKIPPED_SHARE = 0.1
"""The average knows too little at the start for its slope to mean anything."""

DIVERGED_FACTOR = 4.0
LEAST_FALL = 0.02
"""A curve that never falls by this share of its beginning suggests nothing."""

REBOUND = 0.25
"""A curve that rises by this share of its fall has left the useful rates; a later fall is luck."""

ROOF = 2.0
"""Losses count as at most so many times the first, or the end of the test would be all there is."""


class Average:
    """Exponential average, corrected for having begun at zero."""

    def __init__(self, smoothing: float = SMOOTHING) -> None:
        self._smoothing = smoothing
        self._sum = 0.0
        self._count = 0

    def add(self, value: float) -> float:
        """The average with this value in it."""
        self._count += 1
        self._sum = self._smoothing * self._sum + (1 - self._smoothing) * value
        return self._sum / (1 - self._smoothing**self._count)


class Watch:
    """Says when the loss has diverged: no number, or four times the lowest and above the first."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._lowest = math.inf

    def diverged(self, average: float) -> bool:
        """Whether this average means that the test is over."""
        if not math.isfinite(average):
            return True
        if self._first is None:
            self._first = average
        self._lowest = min(self._lowest, average)
        rise = (DIVERGED_FACTOR - 1) * abs(self._lowest)
        return average > self._lowest + rise and average > self._first


def smoothed(losses: Sequence[float]) -> list[float]:
    """The curve of these losses; one above the roof says nothing about the rates before it."""
    if not losses:
        return []
    first = losses[0]
    roof = first + (ROOF - 1) * abs(first) if math.isfinite(first) else math.inf
    known = [min(value, roof) if math.isfinite(value) else roof for value in losses]
    count = len(known)
    sums, weights = list(known), [1.0] * count
    for order in (range(count), range(count - 1, -1, -1)):
        total = weight = 0.0
        for place in order:
            if order.step < 0 and known[place] == roof:
                total = weight = 0.0
            sums[place] += SMOOTHING * total
            weights[place] += SMOOTHING * weight
            total = SMOOTHING * total + known[place]
            weight = SMOOTHING * weight + 1.0
            if order.step < 0 and known[place] == roof:
                total = weight = 0.0
    return [total / weight for total, weight in zip(sums, weights, strict=True)]


@dataclass(frozen=True)
class Suggestion:
    """Rates by the two rules; None where the loss never fell."""

    steepest: float | None
    valley: float | None


def suggest(rates: Sequence[float], curve: Sequence[float], *, by_decade: bool) -> Suggestion:
    """What a smoothed curve says about the learning rate."""
    nothing = Suggestion(None, None)
    values = np.asarray(curve, dtype=np.float64)
    if len(values) < 4 or not np.isfinite(values).all():
        return nothing
    least = LEAST_FALL * abs(float(values[0]))
    lowest = _bottom(values, least)
    first = min(max(1, math.ceil(SKIPPED_SHARE * len(values))), lowest)
    highest = first + int(values[first : lowest + 1].argmax())
    if lowest - highest < 2 or values[highest] - values[lowest] < least:
        return nothing
    places = np.asarray(rates, dtype=np.float64)
    across = np.log10(places) if by_decade else places
    slopes = np.gradient(values, across)[highest : lowest + 1]
    steepest = highest + int(slopes.argmin())
    below = np.flatnonzero(values[highest : lowest + 1] < values[highest] - least)
    start = highest + int(below[0]) - 1
    falling = longest_fall(values[start : lowest + 1].tolist())
    valley = start + falling[len(falling) // 2]
    return Suggestion(float(places[steepest]), float(places[valley]))


def _bottom(values: np.ndarray, least: float) -> int:
    """The lowest place before the curve, once fallen, rises by a quarter of its fall."""
    highest = lowest = 0
    for place, value in enumerate(values.tolist()):
        if value < values[lowest]:
            lowest = place
        fall = float(values[highest] - values[lowest])
        if fall >= least and value - values[lowest] > max(2 * least, REBOUND * fall):
            break
        if fall < least and value > values[highest]:
            highest = lowest = place
    return lowest


def longest_fall(values: Sequence[float]) -> list[int]:
    """Places of the longest strictly falling series, gaps allowed; the latest one of several."""
    length = [1] * len(values)
    before = [-1] * len(values)
    for place, value in enumerate(values):
        for earlier in range(place):
            if values[earlier] > value and length[earlier] + 1 >= length[place]:
                length[place], before[place] = length[earlier] + 1, earlier
    place = max(range(len(values)), key=lambda one: (length[one], one))
    series = []
    while place >= 0:
        series.append(place)
        place = before[place]
    return series[::-1]
