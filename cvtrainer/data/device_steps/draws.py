"""Draws for a whole batch at once, each row a function of its own sample's seed only.

They are hashed on the CPU from counters, so they do not depend on the device, on the rank, or on
which other samples are in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.seeds import mix

Rows = NDArray[np.float64]
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Draws:
    """One seed per sample; `at` gives each step of the pipeline draws of its own."""

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = tuple(seeds)

    def __len__(self) -> int:
        return len(self.seeds)

    def at(self, place: int) -> Draws:
        """The draws of that step."""
        return Draws([mix(seed, place) for seed in self.seeds])

    def uniform(self, count: int = 1, *, low: float = 0.0, high: float = 1.0) -> Rows:
        """Numbers in [low, high), one row of `count` per sample; the same ones each time."""
        seeds = np.array(self.seeds, dtype=np.uint64)[:, None]
        with np.errstate(over="ignore"):
            state = seeds + _STEP * np.arange(1, count + 1, dtype=np.uint64)
            state = (state ^ (state >> np.uint64(30))) * _MIXERS[0]
            state = (state ^ (state >> np.uint64(27))) * _MIXERS[1]
            state ^= state >> np.uint64(31)
        units: Rows = (state >> np.uint64(11)) * 2.0**-53
        return low + (high - low) * units
