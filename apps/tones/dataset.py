"""Generated sounds of half a second: six ways in which a tone can be made, at any pitch."""

from __future__ import annotations

from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets import DataAdapter

RATE = 8000
KINDS = ("pure", "hollow", "bright", "rising", "falling", "trembling")
_SPLITS = {"train": 0, "val": 1}


class Tones(DataAdapter):
    """`x` float32 [T] within [-1, 1] at 8 kHz, of 0.25 to 0.5 seconds, and `class_id`."""

    draws_randomly = False
    thread_safe = True

    def __init__(self, *, split: str = "train", count: int = 600, seed: int = 0) -> None:
        if split not in _SPLITS:
            raise UserError(f"tones have no split {split!r}", todo="Use train or val.")
        self.classes = {name: number for number, name in enumerate(KINDS)}
        self.count = count
        self._seed = (seed, _SPLITS[split])

    def __len__(self) -> int:
        return self.count

    def _load_sample(self, idx: int) -> dict[str, Any]:
        rng = np.random.default_rng((*self._seed, idx))
        kind = idx % len(KINDS)
        sound = _tone(KINDS[kind], rng) + rng.normal(size=RATE // 2) * rng.uniform(0.05, 0.4)
        length = int(rng.uniform(0.25, 0.5) * RATE)
        loud = rng.uniform(0.2, 0.9) / np.abs(sound).max()
        return {
            "x": (sound[:length] * loud).astype(np.float32),
            "target": {"class_id": kind},
            "meta": {"sample_rate": RATE},
        }


def _tone(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Half a second of it."""
    time = np.arange(RATE // 2) / RATE
    pitch = 220.0 * 2.0 ** rng.uniform(0.0, 1.5) * np.ones_like(time)
    if kind in ("rising", "falling"):
        bend = rng.uniform(0.3, 1.0) * time / 0.5
        pitch = pitch * 2.0 ** (bend if kind == "rising" else -bend)
    if kind == "trembling":
        pitch = pitch * 2.0 ** (0.08 * np.sin(2 * np.pi * rng.uniform(5.0, 9.0) * time))
    phase = 2 * np.pi * (np.cumsum(pitch) / RATE + rng.random())
    steps = {"hollow": range(1, 8, 2), "bright": range(1, 8)}.get(kind, range(1, 2))
    return np.sum([np.sin(step * phase) / step for step in steps], axis=0)
