"""Handwritten digits that come with scikit-learn: 1,797 real 8x8 pictures, no download.

They are enlarged and split the same way every time, each class in the same proportion, so that
examples and tests train on something real on a machine without a network.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.core.seeds import mix
from cvtrainer.data.datasets.adapter import DataAdapter
from cvtrainer.data.decode import Pixels
from cvtrainer.data.sample import Sample

_SPLITS = ("train", "val", "all")
_DEEPEST = 16
_BANDS = {"rgb": 3, "grey": 1}


class Digits(DataAdapter):
    """Samples `{"x": uint8 HWC, "target": {"class_id": 0..9}}`."""

    draws_randomly = False
    thread_safe = True

    def __init__(
        self,
        split: Literal["train", "val", "all"] = "train",
        *,
        size: int = 32,
        color: Literal["rgb", "grey"] = "rgb",
        val_fraction: float = 0.2,
        seed: int = 0,
    ) -> None:
        if split not in _SPLITS:
            raise UserError(f"Digits has no split {split!r}", todo="Use train, val or all.")
        if color not in _BANDS:
            raise UserError(f"Digits has no colour {color!r}", todo="Use rgb or grey.")
        pictures, labels = _load()
        chosen = np.arange(len(labels))
        if split != "all":
            held_out = _stratified(labels, val_fraction, seed)
            chosen = chosen[held_out if split == "val" else ~held_out]
        self.split = split
        self.size = size
        self.classes: dict[str, int] = {str(digit): digit for digit in range(10)}
        self._bands = _BANDS[color]
        self._pictures = pictures[chosen]
        self._numbers = chosen
        self.labels = labels[chosen]

    def __len__(self) -> int:
        return len(self.labels)

    def _load_sample(self, idx: int) -> Sample:
        picture = Image.fromarray(self._pictures[idx])
        large = np.asarray(picture.resize((self.size, self.size), Image.Resampling.BICUBIC))
        return {
            "x": np.repeat(large[:, :, None], self._bands, axis=2),
            "target": {"class_id": int(self.labels[idx])},
            "meta": {"index": idx, "path": f"digits/{int(self._numbers[idx])}"},
        }


def _load() -> tuple[Pixels, np.ndarray]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UserError(
            "the digits come with scikit-learn, which is not installed",
            todo="Run: pip install scikit-learn",
        ) from error
    bunch = load_digits()
    ink = np.asarray(bunch.images, dtype=np.float64) * (255.0 / _DEEPEST)
    return np.rint(ink).astype(np.uint8), np.asarray(bunch.target, dtype=np.int64)


def _stratified(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """True for the share of each class that is held out, chosen by a hash of the number."""
    if not 0.0 < fraction < 1.0:
        raise UserError(f"val_fraction is {fraction}", todo="Use a number between 0 and 1.")
    held_out = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label).tolist()
        members.sort(key=lambda number: mix(seed, number))
        held_out[members[: round(len(members) * fraction)]] = True
    return held_out
