"""How often each value occurs, gathered once in one pass over the calibration sample.

The range is symmetric around zero and grows by doubling, which joins neighbouring bins and loses
nothing. Every calibrator reads the same histogram.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BINS = 4096


class Histogram:
    """`counts` of equal bins over -`reach` to `reach`; `low` and `high` are exact."""

    def __init__(self, bins: int = BINS) -> None:
        if bins % 4:
            raise ValueError("bins are joined in pairs on both sides of zero")
        self.counts: NDArray[np.float64] = np.zeros(bins)
        self.reach = 0.0
        self.low = math.inf
        self.high = -math.inf

    def add(self, values: Tensor) -> None:
        """Count these values; what is not finite does not count."""
        values = values.detach().float().flatten()
        if not bool(torch.isfinite(values).all()):
            values = values[torch.isfinite(values)]
        if not values.numel():
            return
        low, high = (float(one) for one in torch.aminmax(values))
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._grow(max(abs(low), abs(high)))
        if self.reach:
            made = torch.histc(values, len(self.counts), -self.reach, self.reach)
            self.counts += made.double().numpy()
        else:
            self.counts[len(self.counts) // 2] += values.numel()

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        bins = len(self.counts)
        made = np.arange(bins, dtype=np.float64) + 0.5
        return made * (2 * self.reach / bins) - self.reach

    def _grow(self, reach: float) -> None:
        if reach <= self.reach:
            return
        if not self.reach:
            zeros = self.counts.sum()
            self.reach = reach
            self.counts[:] = 0
            self.counts[len(self.counts) // 2] = zeros
            return
        while self.reach < reach:
            quarter = len(self.counts) // 4
            joined = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.pad(joined, quarter)
            self.reach *= 2
