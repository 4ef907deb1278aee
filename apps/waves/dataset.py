"""Generated series of two channels and of unequal length: which shape the first one has.

The second channel is the load under which it was measured: it shifts and stretches the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets import DataAdapter

SHAPES = ("round", "edged", "sloped", "pulsed")
_SPLITS = {"train": 0, "val": 1}


class Waves(DataAdapter):
    """`x` float32 [T, 2] of 40 to 120 points of time, and `class_id`."""

    draws_randomly = False
    thread_safe = True

    def __init__(self, *, split: str = "train", count: int = 600, seed: int = 0) -> None:
        if split not in _SPLITS:
            raise UserError(f"waves have no split {split!r}", todo="Use train or val.")
        self.classes = {name: number for number, name in enumerate(SHAPES)}
        self.count = count
        self._seed = (seed, _SPLITS[split])

    def __len__(self) -> int:
        return self.count

    def _load_sample(self, idx: int) -> dict[str, Any]:
        rng = np.random.default_rng((*self._seed, idx))
        kind = idx % len(SHAPES)
        length = int(rng.integers(40, 121))
        load = np.cumsum(rng.normal(size=length)) * 0.1
        period = rng.uniform(12, 30) * (1 + 0.1 * np.tanh(load))
        phase = (np.cumsum(1.0 / period) + rng.random()) % 1
        wave = _shaped(SHAPES[kind], phase) * rng.uniform(0.6, 1.4) + load
        noisy = wave + rng.normal(size=length) * rng.uniform(0.2, 0.7)
        return {
            "x": np.stack([noisy, load], axis=1).astype(np.float32),
            "target": {"class_id": kind},
        }


def _shaped(kind: str, phase: np.ndarray) -> np.ndarray:
    """One period of each, between -1 and 1."""
    if kind == "round":
        return np.sin(2 * np.pi * phase)
    if kind == "edged":
        return np.where(phase < 0.5, 1.0, -1.0)
    if kind == "sloped":
        return 2 * phase - 1
    return np.where(phase < 0.15, 1.5, -0.3)
