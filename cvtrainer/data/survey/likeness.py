"""Are two pictures the same one, resized, recompressed, brightened or cropped?

First by signature: 64 bits of low frequencies of the whole picture and of windows of it, so that
a crop meets the window it was cut from. What comes near is then laid over the other, aligned, and
compared pixel by pixel: only that says yes. Pictures that merely show alike things say no.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from cvtrainer.data.decode import Pixels

Signature = NDArray[np.uint64]
Grey = NDArray[np.float32]

_THUMB = 64
_GRID = 32
_KEPT = 8
WINDOWS: tuple[tuple[float, float, float], ...] = (
    (0.0, 0.0, 1.0),
    *((x, y, 0.88) for x in (0.0, 0.06, 0.12) for y in (0.0, 0.06, 0.12)),
    *((x, y, 0.75) for x in (0.0, 0.125, 0.25) for y in (0.0, 0.125, 0.25)),
)
"""Left, top and side of each window as shares of the picture; the first is all of it."""

SMALLEST = 48
"""Pictures of a shorter side show too little for a judgement beyond equality."""

_SIDE = 192
_TRIALS = 40
_LIKE = 0.98
_CLOSE = 16.0
_PATCH = 7
_OVERLAP = 0.5
_ROUGH_SIDE = 48
_ROUGH_TRIALS = 12
_ROUGH_LIKE = 0.95


def signature(pixels: Pixels) -> Signature:
    """64 bits for each window."""
    grey = _grey(pixels)
    thumb = cv2.resize(grey, (_THUMB, _THUMB), interpolation=cv2.INTER_AREA)
    bits = np.empty((len(WINDOWS), _KEPT * _KEPT), dtype=bool)
    for place, (left, top, side) in enumerate(WINDOWS):
        x, y, n = round(left * _THUMB), round(top * _THUMB), round(side * _THUMB)
        window = cv2.resize(
            thumb[y : y + n, x : x + n], (_GRID, _GRID), interpolation=cv2.INTER_AREA
        )
        low = cv2.dct(window.astype(np.float32))[:_KEPT, :_KEPT].ravel()
        low[0] = 0.0
        bits[place] = low > np.median(low[1:])
    return np.packbits(bits, axis=1).view(np.uint64).ravel()


def distances(one: np.uint64, many: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many bits differ."""
    return bits_of(np.bitwise_xor(np.ascontiguousarray(many), one))


def bits_of(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many bits are set, also with a numpy before 2."""
    count = getattr(np, "bitwise_count", _bits_by_table)
    found: NDArray[np.uint8] = count(words)
    return found


def _bits_by_table(words: NDArray[np.uint64]) -> NDArray[np.uint8]:
    halves = np.arange(65536, dtype=np.uint16)
    table = np.unpackbits(halves.view(np.uint8).reshape(-1, 2), axis=1).sum(axis=1, dtype=np.uint8)
    found: NDArray[np.uint8] = table[words.view(np.uint16).reshape(*words.shape, 4)].sum(
        axis=-1, dtype=np.uint8
    )
    return found


def reduced(pixels: Pixels) -> Grey:
    """The picture as the comparison sees it: grey, its longer side at most 192."""
    grey = _grey(pixels)
    height, width = grey.shape
    share = min(1.0, _SIDE / max(height, width))
    size = max(round(width * share), 1), max(round(height * share), 1)
    if share < 1.0:
        grey = np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.ascontiguousarray(grey, dtype=np.float32)


def same_picture(part: Grey, whole: Grey, window: int) -> bool:
    """Whether `part` shows what `whole` shows in that window, once it is aligned."""
    left, top, side = WINDOWS[window]
    height, width = part.shape
    start = np.array(
        [
            [side * whole.shape[1] / width, 0.0, left * whole.shape[1]],
            [0.0, side * whole.shape[0] / height, top * whole.shape[0]],
        ],
        dtype=np.float32,
    )
    if min(*part.shape, *whole.shape) < SMALLEST or float(part.std()) < 1.0:
        return False
    rough = _roughly_aligned(part, whole, start)
    if rough is None:
        return False
    warp = _aligned(part, whole, rough, trials=_TRIALS, least=_LIKE - 0.015)
    if warp is None:
        return False
    return _agree(part, whole, warp)


def _roughly_aligned(part: Grey, whole: Grey, start: Grey) -> Grey | None:
    """The alignment of small copies, which turns most strangers away at little cost."""
    share_part = min(1.0, _ROUGH_SIDE / max(part.shape))
    share_whole = min(1.0, _ROUGH_SIDE / max(whole.shape))
    small_part, small_whole = _shrunk(part, share_part), _shrunk(whole, share_whole)
    across = np.diag([share_whole, share_whole]).astype(np.float32) @ start
    across[:, :2] /= share_part
    warp = _aligned(small_part, small_whole, across, trials=_ROUGH_TRIALS, least=_ROUGH_LIKE)
    if warp is None:
        return None
    back = np.diag([1 / share_whole, 1 / share_whole]).astype(np.float32) @ warp
    back[:, :2] *= share_part
    return np.ascontiguousarray(back, dtype=np.float32)


def _shrunk(grey: Grey, share: float) -> Grey:
    size = max(round(grey.shape[1] * share), 1), max(round(grey.shape[0] * share), 1)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _aligned(part: Grey, whole: Grey, start: Grey, *, trials: int, least: float) -> Grey | None:
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, trials, 1e-4)
    everywhere = np.ones(whole.shape, dtype=np.uint8)
    try:
        like, warp = cv2.findTransformECC(
            part, whole, start.copy(), cv2.MOTION_AFFINE, criteria, everywhere, 5
        )
    except cv2.error:  # the alignment did not converge: these are not the same
        return None
    if like < least:
        return None
    turn = abs(warp[0, 1]) + abs(warp[1, 0])
    stretch = warp[0, 0] / start[0, 0], warp[1, 1] / start[1, 1]
    if turn > 0.1 or not all(0.6 < one < 1.6 for one in stretch):
        return None
    return np.asarray(warp, dtype=np.float32)


def _agree(part: Grey, whole: Grey, warp: Grey) -> bool:
    size = part.shape[1], part.shape[0]
    shrunk = max(warp[0, 0], warp[1, 1])
    source = cv2.GaussianBlur(whole, (0, 0), 0.5 * shrunk) if shrunk > 1.2 else whole
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(source, warp, size, flags=flags)
    inside = cv2.warpAffine(np.ones_like(whole), warp, size, flags=flags) > 0.999
    if inside.mean() < _OVERLAP:
        return False
    a, b = part[inside], laid[inside]
    spread_a, spread_b = float(a.std()), float(b.std())
    if min(spread_a, spread_b) < 1.0 or not 0.5 < spread_a / spread_b < 2.0:
        return False
    like = float(np.mean((a - a.mean()) * (b - b.mean())) / (spread_a * spread_b))
    if like < _LIKE:
        return False
    matched = (laid - b.mean()) * (spread_a / spread_b) + a.mean()
    apart = np.where(inside, np.abs(cv2.blur(part - matched, (_PATCH, _PATCH))), 0.0)
    return float(np.quantile(apart[inside], 0.995)) < _CLOSE


def _grey(pixels: Pixels) -> NDArray[np.uint8]:
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        colours = np.ascontiguousarray(pixels[:, :, :3])
        return np.asarray(cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    return np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels[:, :, 0])
