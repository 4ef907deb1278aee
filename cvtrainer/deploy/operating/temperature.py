"""Temperature scaling (Guo and others, 2017), and how far shares are from how often they are right.

One number divides all scores, so no answer changes. It is the one of the least surprise; targets
are drawn in a little, as Platt (1999) does, or a split without a mistake would ask for certainty.
"""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.telling.operating import tempered, tempered_each

Array = NDArray[Any]

_RANGE = (0.05, 20.0)
_ROUNDS = 40
_BINS = 15
_LEAST = 1e-30
_ROUNDING = 1e-12


def temperature_of(shares: Array, truth: Array, *, exclusive: bool) -> float:
    """For shares `[N, C]` and which are right; `exclusive` where one of each row is."""
    draw = 1 / (len(shares) + 2)
    if exclusive:
        others = draw / max(1, shares.shape[1] - 1)
        targets = np.where(truth, 1 - draw, others)
    else:
        targets = np.where(truth, 1 - draw, draw)

    def surprise(logarithm: float) -> float:
        return mean_surprise(
            _scaled(shares, exp(logarithm), exclusive), targets, exclusive=exclusive
        )

    found = _lowest(surprise, log(_RANGE[0]), log(_RANGE[1]))
    # Where none is better, as of shares that are all alike, scores stay what they are.
    return exp(found) if surprise(found) < surprise(0.0) - _ROUNDING else 1.0


def mean_surprise(shares: Array, targets: Array, *, exclusive: bool) -> float:
    """Negative logarithm of the likelihood per sample."""
    each = targets * -np.log(np.maximum(shares, _LEAST))
    if not exclusive:
        each = each + (1 - targets) * -np.log(np.maximum(1 - shares, _LEAST))
    return float(each.sum(axis=1).mean())


def calibration_error(shares: Array, right: Array) -> float:
    """Mean distance of share and frequency over fifteen bins, by how many are in each."""
    place = np.minimum((shares * _BINS).astype(int), _BINS - 1)
    away = np.bincount(place, weights=right - shares, minlength=_BINS)
    return float(np.abs(away).sum() / max(1, len(shares)))


def _scaled(shares: Array, temperature: float, exclusive: bool) -> Array:
    return (tempered if exclusive else tempered_each)(shares, temperature)


def _lowest(value: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is lowest, by golden sections."""
    share = (sqrt(5) - 1) / 2
    left, right = high - share * (high - low), low + share * (high - low)
    at_left, at_right = value(left), value(right)
    for _ in range(_ROUNDS):
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - share * (high - low)
            at_left = value(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + share * (high - low)
            at_right = value(right)
    return (low + high) / 2
