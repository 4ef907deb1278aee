"""Which pixels along an axis a resized pixel is made of, and how much each of them counts.

Every kernel becomes a table of places and weights. Where a back end works with whole numbers
(OpenCV: 11 bits), its tables are made as it makes them.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FIXED_BITS = 11
_SHARP = -0.75
"""The bend of the cubic kernel where nothing is smoothed."""
_SOFT = -0.5
"""The bend of the cubic kernel where it is widened."""


class Taps(NamedTuple):
    """For each new place `[m, k]`: old places and their weights."""

    places: NDArray[np.intp]
    weights: NDArray[np.float64]


@lru_cache(maxsize=256)
def taps(old: int, new: int, kernel: str, shrink: str) -> Taps:
    """The table from `old` to `new` pixels."""
    if kernel == "nearest":
        return _nearest(old, new)
    if shrink == "smooth":
        return _widened(old, new, kernel)
    if shrink == "area":
        return _areas(old, new)
    return _narrow(old, new, kernel)


def _nearest(old: int, new: int) -> Taps:
    places = np.minimum(((np.arange(new) + 0.5) * (old / new)).astype(np.intp), old - 1)
    return Taps(places[:, None], np.ones((new, 1)))


def _narrow(old: int, new: int, kernel: str) -> Taps:
    """The kernel's own few pixels, however much the picture shrinks."""
    centres = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    first = np.floor(centres).astype(np.intp)
    share = (centres - first).astype(np.float32)
    weights: NDArray[np.floating]
    if kernel == "area":
        first, share = _area_enlarged(old, new)
    if kernel in ("bilinear", "area"):
        share = np.where((first < 0) | (first >= old - 1), np.float32(0), share)
        first = np.clip(first, 0, old - 1)
        weights = np.stack([1 - share, share], axis=1)
    elif kernel == "bicubic":
        first = first - 1
        weights = _cubic(share[:, None] - np.arange(-1, 3, dtype=np.float32), _SHARP)
    else:
        first = first - 3
        weights = np.stack([_lanczos(float(one)) for one in share])
    places = first[:, None] + np.arange(weights.shape[1])
    return Taps(np.clip(places, 0, old - 1), weights.astype(np.float64))


def _area_enlarged(old: int, new: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Where OpenCV's areas would grow, it mixes two neighbours only at their border."""
    place = np.arange(new)
    first = np.floor(place * (old / new)).astype(np.intp)
    beyond = ((place + 1) - (first + 1) * (new / old)).astype(np.float32)
    return first, np.where(beyond <= 0, np.float32(0), beyond - np.floor(beyond))


def _areas(old: int, new: int) -> Taps:
    """Means of what each new pixel covers."""
    scale = old / new
    start = np.arange(new) * scale
    end = np.minimum(start + scale, old)
    first = np.floor(start + 1e-9).astype(np.intp)
    places = first[:, None] + np.arange(math.ceil(scale) + 1)
    covered = np.minimum(end[:, None], places + 1) - np.maximum(start[:, None], places)
    return _whole(places, np.maximum(covered, 0), old)


def _widened(old: int, new: int, kernel: str) -> Taps:
    """The kernel as wide as what each new pixel stands for."""
    scale = old / new
    wide = max(scale, 1.0)
    reach = wide * (2 if kernel == "bicubic" else 1)
    centres = (np.arange(new) + 0.5) * scale
    first = np.maximum((centres - reach + 0.5).astype(np.intp), 0)
    last = np.minimum((centres + reach + 0.5).astype(np.intp), old)
    places = first[:, None] + np.arange(int((last - first).max()))
    distances = (places + 0.5 - centres[:, None]) / wide
    if kernel == "bicubic":
        weights = _cubic(distances, _SOFT)
    else:
        weights = np.maximum(0, 1 - np.abs(distances))
    return _whole(places, np.where(places < last[:, None], weights, 0), old)


def _whole(places: NDArray[np.intp], weights: NDArray[np.float64], old: int) -> Taps:
    """Weights that add up to one; what lies outside does not count."""
    weights = np.where(places < old, weights, 0)
    return Taps(np.minimum(places, old - 1), weights / weights.sum(axis=1, keepdims=True))


def _cubic(distances: NDArray[np.floating], bend: float) -> NDArray[np.float64]:
    far = np.abs(distances).astype(np.float64)
    near = ((bend + 2) * far - (bend + 3)) * far * far + 1
    beyond = (((far - 5) * far + 8) * far - 4) * bend
    return np.where(far <= 1, near, np.where(far < 2, beyond, 0.0))


def _lanczos(share: float) -> NDArray[np.float64]:
    """Eight weights of the windowed sinc of four lobes to either side."""
    distances = share + 3.0 - np.arange(8)
    weights: NDArray[np.float64] = np.sinc(distances) * np.sinc(distances / 4)
    whole: NDArray[np.float64] = weights / weights.sum()
    return whole
