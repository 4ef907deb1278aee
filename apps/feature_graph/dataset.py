"""Generated dialogues as graphs: an utterance is a node, who said what when makes the edges.

Each utterance has features of its words, its sound and its face, as extractors would give them; a
channel may be missing. One utterance alone says little about the mood behind it, but a mood lasts
for a while, so what the same speaker said around it helps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets import DataAdapter

MOODS = ("neutral", "happy", "sad", "angry")
CHANNELS = {"words": (16, 0.7), "sound": (8, 0.5), "face": (8, 0.5)}
"""How many features each channel has, and how clearly they show the mood."""

FEATURES = sum(size for size, _ in CHANNELS.values())
REACH = 6
LASTS = 0.85
LISTENS = {"train": 0, "val": 1}


class Dialogues(DataAdapter):
    """`x` [V, 32], `edges` [V, V], and `class_id` for each of the V utterances."""

    draws_randomly = False
    thread_safe = True

    def __init__(self, *, split: str = "train", count: int = 400, seed: int = 0) -> None:
        if split not in LISTENS:
            raise UserError(f"dialogues have no split {split!r}", todo="Use train or val.")
        self.classes = {name: number for number, name in enumerate(MOODS)}
        self.count = count
        self._seed = (seed, LISTENS[split])
        rng = np.random.default_rng(seed)
        self._shown = {
            name: rng.normal(size=(len(MOODS), size)) * clear / np.sqrt(size) * 2
            for name, (size, clear) in CHANNELS.items()
        }

    def __len__(self) -> int:
        return self.count

    def _load_sample(self, idx: int) -> dict[str, Any]:
        rng = np.random.default_rng((*self._seed, idx))
        length = int(rng.integers(5, 16))
        speakers = rng.integers(2, size=length)
        moods = _lasting(rng, speakers)
        return {
            "x": self._features(rng, moods),
            "edges": _edges(speakers),
            "target": {"class_id": moods},
        }

    def _features(self, rng: np.random.Generator, moods: np.ndarray) -> np.ndarray:
        parts = []
        for name, (size, _) in CHANNELS.items():
            seen = self._shown[name][moods] + rng.normal(size=(len(moods), size))
            missing = rng.random(len(moods)) < 0.1
            parts.append(np.where(missing[:, None], 0.0, seen))
        return np.concatenate(parts, axis=1).astype(np.float32)


def _lasting(rng: np.random.Generator, speakers: np.ndarray) -> np.ndarray:
    """Moods that each speaker keeps for some utterances."""
    current = rng.integers(len(MOODS), size=2)
    moods = np.empty(len(speakers), dtype=np.int64)
    for place, speaker in enumerate(speakers):
        if rng.random() > LASTS:
            current[speaker] = rng.integers(len(MOODS))
        moods[place] = current[speaker]
    return moods


def _edges(speakers: np.ndarray) -> np.ndarray:
    """To utterances nearby: the same speaker's count fully, the other's little."""
    places = np.arange(len(speakers))
    apart = np.abs(places[:, None] - places[None])
    same = speakers[:, None] == speakers[None]
    near = (apart > 0) & (apart <= REACH)
    return (near * np.where(same, 1.0, 0.1) / np.maximum(apart, 1)).astype(np.float32)
