"""Samples as often as their weight says, drawn with or without putting back.

With putting back each position is a draw of its own and needs no table. Without, a sample of twice
the weight tends to come earlier; the order of an epoch is then one sorted table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.core.seeds import mix
from cvtrainer.data.sampling.classes_of import class_numbers
from cvtrainer.data.sampling.permutation import Numbers, units
from cvtrainer.data.sampling.sampler import ORDER_PLACE, Order

_WHERE = "Weighted"


class Weighted:
    """Draws by weight: one per class (by name or in the order of numbers) or one per sample.

    `sample_weights` may also name a column of the data set. `samples` is the length of an epoch,
    by default that of the data set.
    """

    def __init__(
        self,
        *,
        class_weights: Mapping[str, float] | Sequence[float] | None = None,
        sample_weights: Sequence[float] | str | None = None,
        replacement: bool = True,
        samples: int | None = None,
    ) -> None:
        if (class_weights is None) == (sample_weights is None):
            raise UserError("give class_weights or sample_weights, one of them", where=_WHERE)
        if samples is not None and samples < 1:
            raise UserError(f"samples is {samples}", where=_WHERE, todo="Use 1 or more.")
        self.class_weights = class_weights
        self.sample_weights = sample_weights
        self.replacement = replacement
        self.samples = samples
        self.length = 0
        self._weights: NDArray[np.float64] = np.empty(0)
        self._sums: NDArray[np.float64] = np.empty(0)

    def prepare(self, dataset: Sized) -> None:
        weights = self._per_sample(dataset)
        if len(weights) != len(dataset):
            raise UserError(f"{len(weights)} weights for {len(dataset)} samples", where=_WHERE)
        if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
            raise UserError("weights must be 0 or more, finite, and some above 0", where=_WHERE)
        self._weights = weights
        self.length = self.samples or len(dataset)
        if self.replacement:
            self._sums = np.cumsum(weights)
            return
        drawn = int(np.count_nonzero(weights))
        if self.samples is None:
            self.length = drawn
        elif self.samples > drawn:
            raise UserError(
                f"samples is {self.samples}, but only {drawn} samples have a weight above 0",
                where=_WHERE,
                todo="Use fewer, or replacement: true.",
            )

    def order(self, seed: int, epoch: int) -> Order:
        key = mix(seed, epoch, ORDER_PLACE)
        if self.replacement:
            return _Draws(self._sums, key)
        return _Earliest(self._weights, key)

    def _per_sample(self, dataset: Sized) -> NDArray[np.float64]:
        if self.sample_weights is not None:
            return _sample_weights(self.sample_weights, dataset)
        assert self.class_weights is not None
        classes = class_numbers(dataset, _WHERE)
        by_number = _class_weights(self.class_weights, dataset)
        if int(classes.max(initial=0)) >= len(by_number):
            raise UserError(
                f"{len(by_number)} weights, but there is a class number {classes.max()}",
                where=_WHERE,
                todo="Give a weight for each class.",
            )
        weights: NDArray[np.float64] = by_number[classes]
        return weights


class _Draws:
    """Each position draws for itself."""

    def __init__(self, sums: NDArray[np.float64], key: int) -> None:
        self._sums = sums
        self._key = key

    def at(self, positions: Numbers) -> Numbers:
        drawn = units(positions.astype(np.uint64), self._key) * self._sums[-1]
        found: Numbers = np.searchsorted(self._sums, drawn, side="right").astype(np.int64)
        return found


class _Earliest:
    """All samples by when they first happen, if each happens at the rate of its weight."""

    def __init__(self, weights: NDArray[np.float64], key: int) -> None:
        drawn = np.flatnonzero(weights)
        times = -np.log(units(drawn.astype(np.uint64), key)) / weights[drawn]
        self._table = drawn[np.argsort(times, kind="stable")].astype(np.int64)

    def at(self, positions: Numbers) -> Numbers:
        return self._table[positions]


def _sample_weights(given: Sequence[float] | str, dataset: Sized) -> NDArray[np.float64]:
    if not isinstance(given, str):
        return np.asarray(given, dtype=np.float64)
    columns: Any = getattr(dataset, "index", ())
    if given not in columns:
        raise UserError(f"{type(dataset).__name__} has no column {given!r}", where=_WHERE)
    return np.asarray(columns.numbers(given), dtype=np.float64)


def _class_weights(
    given: Mapping[str, float] | Sequence[float], dataset: Sized
) -> NDArray[np.float64]:
    if not isinstance(given, Mapping):
        return np.asarray(given, dtype=np.float64)
    names = [str(name) for name in getattr(dataset, "classes", None) or ()]
    strangers = [name for name in given if str(name) not in names]
    missing = [name for name in names if name not in given]
    if strangers or missing:
        what = f"no class {strangers[0]!r}" if strangers else f"no weight for {missing[0]!r}"
        raise UserError(what, where=_WHERE, todo=f"Classes are {', '.join(names)}.")
    return np.array([given[name] for name in names], dtype=np.float64)
