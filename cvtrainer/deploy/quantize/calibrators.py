"""From a histogram to the range that 8 bits shall span: max, percentile, mse, entropy.

A wider range keeps outliers and makes steps coarse; a narrower one does the opposite. Each method
weighs that in its own way, and all of them look at the same candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.quantize.histogram import Histogram

LEVELS = 256
_SHARES = np.linspace(0.02, 1.0, 99)
"""Candidates, as shares of the larger end of the range."""


class Span(NamedTuple):
    """The smallest and the largest value that is told apart; zero lies between."""

    low: float
    high: float


def span_of(
    histogram: Histogram, method: str, *, percentile: float = 99.99, symmetric: bool = False
) -> Span:
    """The range by that method; a histogram of nothing gives an empty one. A `symmetric` rounding
    has as many levels below zero as above, whether or not values are there."""
    calibrate = CALIBRATORS.get(method)
    if calibrate is None:
        raise UserError(
            f"there is no calibrator {method!r}", todo=f"Choose of {', '.join(CALIBRATORS)}."
        )
    if not 50 < percentile <= 100:
        raise UserError(f"percentile is {percentile}", todo="Give more than 50 and at most 100.")
    if histogram.low > histogram.high:
        return Span(0.0, 0.0)
    if histogram.reach == 0:
        return Span(0.0, 0.0)
    found = calibrate(histogram, percentile, symmetric)
    low, high = max(found.low, histogram.low), min(found.high, histogram.high)
    return Span(min(low, 0.0), max(high, 0.0))


def _largest(histogram: Histogram, percentile: float, symmetric: bool) -> Span:
    return Span(histogram.low, histogram.high)


def _percentile(histogram: Histogram, percentile: float, symmetric: bool) -> Span:
    """So many percent of the values lie inside; what is beyond is shared by both ends."""
    share = histogram.counts.cumsum() / histogram.counts.sum()
    outside = (1 - percentile / 100) / 2
    edges = np.linspace(-histogram.reach, histogram.reach, len(share) + 1)
    low = edges[int(np.searchsorted(share, outside, side="right"))]
    high = edges[min(int(np.searchsorted(share, 1 - outside)) + 1, len(share))]
    return Span(max(low, histogram.low), min(high, histogram.high))


def _mse(histogram: Histogram, percentile: float, symmetric: bool) -> Span:
    """The smallest mean of squared errors, of rounding and of clipping."""
    values, steps = histogram.centres, _levels(symmetric) - 1
    candidates, errors = _candidates(histogram, symmetric), []
    for span in candidates:
        step = (span.high - span.low) / steps
        rounded = np.clip(np.rint((values - span.low) / step), 0, steps) * step + span.low
        inside = (values >= span.low) & (values <= span.high)
        width = 2 * histogram.reach / len(values)
        # Inside, a bin narrower than a step rounds as if its values were spread over it.
        exact = np.where(inside & (width < step), step * step / 12, (values - rounded) ** 2)
        errors.append(float((exact * histogram.counts).sum()))
    return candidates[int(np.argmin(errors))]


def _entropy(histogram: Histogram, percentile: float, symmetric: bool) -> Span:
    """The least information lost (Kullback-Leibler) between the values and their levels."""
    candidates, levels = _candidates(histogram, symmetric), _levels(symmetric)
    counts = histogram.counts.copy()
    zero = len(counts) // 2
    # What a ReLU cut off is exact at any range; its spike would favour ranges of nothing else.
    counts[zero] = min(counts[zero], max(counts[zero - 1], counts[zero + 1]))
    lost = [_divergence(histogram.centres, counts, span, levels) for span in candidates]
    return candidates[int(np.argmin(lost))]


def _divergence(
    values: NDArray[np.float64], counts: NDArray[np.float64], span: Span, levels: int
) -> float:
    inside = np.flatnonzero((values >= span.low) & (values <= span.high))
    if len(inside) < levels // 2:
        return float("inf")
    first, last = int(inside[0]), int(inside[-1])
    kept: NDArray[np.float64] = counts[first : last + 1].copy()
    level = np.minimum((np.arange(len(kept)) * levels) // len(kept), levels - 1)
    there = kept > 0
    mass = np.bincount(level, weights=kept, minlength=levels)
    holders = np.bincount(level, weights=there, minlength=levels)
    told = np.where(there, mass[level] / np.maximum(holders[level], 1), 0.0)
    kept[0] += counts[:first].sum()
    kept[-1] += counts[last + 1 :].sum()
    if not told.any():
        return float("inf")  # nothing lies inside
    true, guess = kept / kept.sum(), told / told.sum()
    counted = true > 0
    if bool((guess[counted] == 0).any()):
        guess = np.maximum(guess, 1e-12)
    return float((true[counted] * np.log(true[counted] / guess[counted])).sum())


def _levels(symmetric: bool) -> int:
    return LEVELS - 1 if symmetric else LEVELS


def _candidates(histogram: Histogram, symmetric: bool) -> list[Span]:
    """Shares of the larger end; the smaller one is cut only where it is beyond them."""
    low, high = min(histogram.low, 0.0), max(histogram.high, 0.0)
    ends = _SHARES * max(-low, high)
    if symmetric:
        return [Span(-end, end) for end in ends.tolist()]
    return [Span(max(low, -end), min(high, end)) for end in ends.tolist()]


CALIBRATORS: dict[str, Callable[[Histogram, float, bool], Span]] = {
    "max": _largest,
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}
