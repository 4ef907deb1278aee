"""A random order of the numbers below a length, as a pure function of a key.

Small lengths are ordered by the hash of their numbers; large ones by a keyed Feistel network,
which needs no table and so opens at any position at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.seeds import mix

Numbers = NDArray[np.int64]

_TABLE_LIMIT = 1 << 17
_ROUNDS = 6


class Permutation:
    """Each number below `length` once; `at(positions)` says which stand there."""

    def __init__(self, length: int, key: int) -> None:
        self.length = length
        self._key = key
        self._table: Numbers | None = None
        if length <= _TABLE_LIMIT:
            numbers = np.arange(length, dtype=np.uint64)
            self._table = np.argsort(hashed(numbers, key), kind="stable").astype(np.int64)

    def at(self, positions: Numbers) -> Numbers:
        """The numbers at those positions."""
        if self._table is not None:
            return self._table[positions]
        return self._walk(positions)

    def _walk(self, positions: Numbers) -> Numbers:
        """A bijection on the next power of four, repeated until it lands inside the length."""
        half = np.uint64((max(self.length - 1, 1).bit_length() + 1) // 2)
        values = positions.astype(np.uint64)
        outside = np.ones(len(values), dtype=bool)
        while outside.any():
            values[outside] = self._scramble(values[outside], half)
            outside = values >= np.uint64(self.length)
        return values.astype(np.int64)

    def _scramble(self, values: NDArray[np.uint64], half: np.uint64) -> NDArray[np.uint64]:
        mask = (np.uint64(1) << half) - np.uint64(1)
        left, right = values >> half, values & mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (hashed(right, mix(self._key, turn)) & mask)
        return (left << half) | right


def hashed(values: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Splitmix64 over an array; a bijection for a fixed key, so no two numbers tie."""
    state = values * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def units(values: NDArray[np.uint64], key: int) -> NDArray[np.float64]:
    """A number in (0, 1) for each value, independent of the others."""
    high = (hashed(values, key) >> np.uint64(11)).astype(np.float64)
    return (high + 0.5) * 2.0**-53
