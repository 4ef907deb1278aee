"""Generated remarks of guests: praise, complaint, question, or neither.

The order of words matters: `not bad, but too slow` complains, `slow, but not bad` praises; what
stands last decides, and a negation turns what follows it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets import DataAdapter

CLASSES = ("praise", "complaint", "question", "plain")
_SPLITS = {"train": 0, "val": 1}
_THINGS = ["soup", "room", "bed", "waiter", "view", "coffee", "window", "garden", "bread", "shower"]
_GOOD = ["good", "fine", "lovely", "warm", "kind", "quick", "fresh", "quiet", "clean", "cosy"]
_BAD = ["bad", "cold", "slow", "rude", "loud", "dirty", "stale", "dark", "broken", "sour"]
_VERY = ["", "", "very", "really", "quite", "so"]
_BEFORE = ["", "", "honestly ,", "well ,", "to be fair ,", "as always ,"]
_AFTER = ["", "", "today", "again", "this time", "in the evening"]
_FACTS = [
    "is on the left",
    "is on the second floor",
    "was there",
    "opens at nine",
    "is made of wood",
]


class Sentences(DataAdapter):
    """`x` a text, and `class_id`."""

    draws_randomly = False
    thread_safe = True

    def __init__(self, *, split: str = "train", count: int = 2000, seed: int = 0) -> None:
        if split not in _SPLITS:
            raise UserError(f"sentences have no split {split!r}", todo="Use train or val.")
        self.classes = {name: number for number, name in enumerate(CLASSES)}
        self.count = count
        self._seed = (seed, _SPLITS[split])

    def __len__(self) -> int:
        return self.count

    def _load_sample(self, idx: int) -> dict[str, Any]:
        rng = np.random.default_rng((*self._seed, idx))
        kind = idx % len(CLASSES)
        return {"x": _Speaker(rng).remark(CLASSES[kind]), "target": {"class_id": kind}}


class _Speaker:
    """Draws one remark."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def remark(self, kind: str) -> str:
        thing = f"the {self.one(_THINGS)}"
        if kind == "plain":
            said = f"{thing} {self.one(_FACTS)}"
        elif kind == "question":
            asked = self.judged(self.rng.random() < 0.5)
            said = f"{self.one(['is', 'was', 'why was'])} {thing} {asked} ?"
        else:
            good = kind == "praise"
            said = f"{thing} was {self.judged(good)}"
            if self.rng.random() < 0.6:
                said = f"{thing} was {self.judged(not good)} , but {self.judged(good)}"
        words = f"{self.one(_BEFORE)} {said} {self.one(_AFTER)}"
        return " ".join(words.split())

    def judged(self, good: bool) -> str:
        """So in plain words, or by denying the contrary."""
        very = self.one(_VERY)
        if self.rng.random() < 0.4:
            return f"not {very} {self.one(_BAD if good else _GOOD)}"
        return f"{very} {self.one(_GOOD if good else _BAD)}"

    def one(self, of: list[str]) -> str:
        return of[int(self.rng.integers(len(of)))]
