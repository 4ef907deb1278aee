"""Outlines and run lengths of objects, packed into bytes for an index, painted into masks.

The pixel rule: a pixel belongs to a polygon when its centre lies inside; a point at (0, 0) is the
corner of the first pixel. So a rectangle covers the pixels of its box, and no pixel twice where
two polygons share an edge. Several polygons of one object are united; one that crosses itself is
filled by the even-odd rule. Run lengths go down the columns and begin with the count of zeros.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.uint8]
Numbers = NDArray[Any]

_POLYGONS, _RUNS, _LETTERS = b"P", b"R", b"L"
_BITS_PER_LETTER = 5
_FIRST_LETTER = 48


def pack_polygons(polygons: Sequence[Sequence[float]]) -> bytes:
    """Polygons (x1, y1, x2, y2 … each) as bytes."""
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(f"a polygon of {len(polygon)} numbers")
    points = np.concatenate([np.asarray(polygon, dtype="<f4") for polygon in polygons])
    if not np.isfinite(points).all():
        raise ValueError("a polygon with a coordinate that is no number")
    lengths = [len(polygon) for polygon in polygons]
    head = struct.pack(f"<i{len(lengths)}i", len(lengths), *lengths)
    return _POLYGONS + head + points.tobytes()


def pack_segmentation(value: Any) -> bytes:
    """What COCO writes as `segmentation` (polygons, or run lengths of either kind) as bytes."""
    if isinstance(value, Mapping):
        height, width = (int(side) for side in value["size"])
        counts = value["counts"]
        head = struct.pack("<ii", height, width)
        if isinstance(counts, str):
            return _LETTERS + head + counts.encode("ascii")
        return _RUNS + head + np.asarray(counts, dtype="<u4").tobytes()
    if value and not isinstance(value[0], Sequence):
        value = [value]
    return pack_polygons(value)


def paint(packed: bytes, height: int, width: int, scale: tuple[float, float] = (1.0, 1.0)) -> Mask:
    """The object as a mask of zeros and ones; `scale` multiplies x and y of polygons."""
    kind = packed[:1]
    if kind == _POLYGONS:
        mask = np.zeros((height, width), dtype=np.uint8)
        for polygon in _polygons(packed):
            _fill(mask, polygon * np.asarray(scale))
        return mask
    rows, columns = struct.unpack_from("<ii", packed, 1)
    if (rows, columns) != (height, width):
        raise ValueError(f"run lengths for {columns}x{rows}, but the picture is {width}x{height}")
    body = packed[9:]
    runs = np.frombuffer(body, dtype="<u4") if kind == _RUNS else np.array(read_letters(body))
    return paint_runs(runs, height, width)


def extent(packed: bytes) -> tuple[float, float, float, float] | None:
    """The box (xyxy) around polygons; None for run lengths."""
    if packed[:1] != _POLYGONS:
        return None
    points = np.concatenate(_polygons(packed))
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right), float(bottom)


def paint_runs(runs: Numbers, height: int, width: int) -> Mask:
    """The mask of these run lengths: zeros first, then ones, down the columns."""
    if int(runs.sum()) != height * width or (len(runs) and int(runs.min()) < 0):
        raise ValueError(f"run lengths of {int(runs.sum())} pixels for {height * width}")
    values = np.arange(len(runs), dtype=np.uint8) & 1
    flat = np.repeat(values, runs.astype(np.int64))
    return np.ascontiguousarray(flat.reshape(width, height).T)


def read_letters(letters: bytes) -> list[int]:
    """Run lengths out of COCO's letters.

    Each letter is 48 plus six bits: five of the number, lowest first, and whether more follow.
    The last one's top bit is the sign. From the fourth number on, the difference to the number
    two places before is written.
    """
    counts: list[int] = []
    number = shift = 0
    for letter in letters:
        bits = letter - _FIRST_LETTER
        if not 0 <= bits < 64:
            raise ValueError(f"run lengths with the letter {chr(letter)!r}")
        number |= (bits & 31) << shift
        shift += _BITS_PER_LETTER
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        counts.append(number + counts[-2] if len(counts) > 2 else number)
        number = shift = 0
    if shift:
        raise ValueError("run lengths that end within a number")
    return counts


def _polygons(packed: bytes) -> list[Numbers]:
    (count,) = struct.unpack_from("<i", packed, 1)
    lengths = struct.unpack_from(f"<{count}i", packed, 5)
    points = np.frombuffer(packed, dtype="<f4", offset=5 + 4 * count).astype(np.float64)
    return [part.reshape(-1, 2) for part in np.split(points, np.cumsum(lengths)[:-1])]


def _fill(mask: Mask, polygon: Numbers) -> None:
    """Set the pixels whose centres lie inside, row by row between the edges' crossings."""
    height, width = mask.shape
    x1, y1 = polygon[:, 0], polygon[:, 1]
    following = np.concatenate([polygon[1:], polygon[:1]])
    x2, y2 = following[:, 0], following[:, 1]
    top = max(math.ceil(float(y1.min()) - 0.5), 0)
    bottom = min(math.ceil(float(y1.max()) - 0.5), height)
    if top >= bottom:
        return
    first = np.clip(np.ceil(np.minimum(y1, y2) - 0.5), top, bottom).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y1, y2) - 0.5), top, bottom).astype(np.int64)
    spans = last - first
    edge = np.repeat(np.arange(len(polygon)), spans)
    if not len(edge):
        return
    rows = np.arange(len(edge)) - np.repeat(np.cumsum(spans) - spans, spans) + first[edge]
    slope = (x2 - x1)[edge] / (y2 - y1)[edge]
    crossing = x1[edge] + (rows + 0.5 - y1[edge]) * slope
    columns = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    left, right = int(columns.min()), int(columns.max())
    size = (bottom - top, right - left + 1)
    flips = np.bincount((rows - top) * size[1] + columns - left, minlength=size[0] * size[1])
    odd = (flips & 1).astype(np.uint8).reshape(size)
    mask[top:bottom, left:right] |= np.bitwise_xor.accumulate(odd, axis=1)[:, :-1]
