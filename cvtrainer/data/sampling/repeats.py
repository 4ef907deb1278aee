"""Samples of rare classes repeated, the way long-tailed detection sets are trained.

A class shown by a share f of the samples is repeated max(1, sqrt(t / f)) times, a sample as often
as the rarest class in it. Of the fractional parts each epoch rounds others up, so that the mean
over epochs is right and every epoch has the same length.
"""

from __future__ import annotations

from collections.abc import Sized

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.core.seeds import mix, unit
from cvtrainer.data.sampling.classes_of import class_pairs
from cvtrainer.data.sampling.permutation import Numbers, Permutation
from cvtrainer.data.sampling.sampler import ORDER_PLACE, Order


class RepeatFactor:
    """Repeats samples whose classes are shown by fewer than `threshold` of all samples."""

    def __init__(self, threshold: float = 0.001) -> None:
        if not 0.0 < threshold <= 1.0:
            raise UserError(
                f"threshold is {threshold}", where="RepeatFactor", todo="Use a share up to 1."
            )
        self.threshold = threshold
        self.length = 0
        self.factors: NDArray[np.float64] = np.empty(0)
        """How often each sample is shown per epoch, on average."""

    def prepare(self, dataset: Sized) -> None:
        samples, classes = class_pairs(dataset, "RepeatFactor")
        count = len(dataset)
        factors = np.ones(count)
        if len(samples):
            low = int(classes.min())
            width = int(classes.max()) - low + 1
            shown = classes - low
            if (np.diff(samples) <= 0).any():
                shown = np.unique(samples * width + shown) % width
            shares = np.bincount(shown, minlength=width) / count
            of_class = np.sqrt(self.threshold / np.maximum(shares, 1.0 / count)).clip(min=1.0)
            np.maximum.at(factors, samples, of_class[classes - low])
        self.factors = factors
        whole = np.floor(factors)
        self.length = int(whole.sum()) + round(float((factors - whole).sum()))

    def order(self, seed: int, epoch: int) -> Order:
        return _Repeated(self.factors, self.length, mix(seed, epoch, ORDER_PLACE))


class _Repeated:
    """The repeats of an epoch in one table, read through a permutation."""

    def __init__(self, factors: NDArray[np.float64], length: int, key: int) -> None:
        whole = np.floor(factors).astype(np.int64)
        extra = length - int(whole.sum())
        if extra:
            whole[_rounded_up(factors - whole, extra, key)] += 1
        self._table = np.repeat(np.arange(len(factors), dtype=np.int64), whole)
        self._places = Permutation(length, mix(key, 1))

    def at(self, positions: Numbers) -> Numbers:
        return self._table[self._places.at(positions)]


def _rounded_up(parts: NDArray[np.float64], count: int, key: int) -> Numbers:
    """`count` different places, each with the chance of its part: steps along a shuffled sum."""
    places = np.flatnonzero(parts)
    places = places[Permutation(len(places), mix(key, 2)).at(np.arange(len(places)))]
    sums = np.cumsum(parts[places])
    marks = (np.arange(count) + unit(mix(key, 3))) * (sums[-1] / count)
    rounded: Numbers = places[np.searchsorted(sums, marks, side="right").clip(max=len(places) - 1)]
    return rounded
