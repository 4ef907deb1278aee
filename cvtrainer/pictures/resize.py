"""A picture in another size, with the pixels that the training pipeline gives.

Bytes are computed with whole numbers where OpenCV does so, and rounded between the axes where
torch does so; what is left differs by one in 255 at most.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.input_spec import Resize
from cvtrainer.pictures.taps import FIXED_BITS, Taps, taps

Picture = NDArray[np.uint8]


def resized(picture: NDArray[np.generic], step: Resize) -> NDArray[np.generic]:
    """Height x width x channels in the step's size; with fractions where it is not rounded."""
    height, width = picture.shape[:2]
    size = step.result(height, width)
    if size == (height, width):
        return picture
    shrink, kernel = step.shrink, step.kernel
    if shrink == "area" and (size[0] > height or size[1] > width):
        shrink = "plain"
    rows = taps(height, size[0], kernel, shrink)
    columns = taps(width, size[1], kernel, shrink)
    if not step.rounded:
        return _along_rows(_along_columns(picture.astype(np.float64), columns), rows)
    if shrink == "plain" and kernel in ("bilinear", "area", "lanczos"):
        return _with_whole_numbers(picture, rows, columns, halves=kernel != "lanczos")
    wide = _along_columns(picture.astype(np.float64), columns)
    if shrink == "smooth":
        wide = np.clip(np.rint(wide), 0, 255)
    return _bytes(np.rint(_along_rows(wide, rows)))


def _along_columns(values: NDArray[np.float64], table: Taps) -> NDArray[np.float64]:
    made = np.zeros((values.shape[0], len(table.places), values.shape[2]))
    for place, weight in zip(table.places.T, table.weights.T, strict=True):
        made += values[:, place] * weight[None, :, None]
    return made


def _along_rows(values: NDArray[np.float64], table: Taps) -> NDArray[np.float64]:
    made = np.zeros((len(table.places), *values.shape[1:]))
    for place, weight in zip(table.places.T, table.weights.T, strict=True):
        made += values[place] * weight[:, None, None]
    return made


def _with_whole_numbers(
    picture: NDArray[np.generic], rows: Taps, columns: Taps, *, halves: bool
) -> Picture:
    """OpenCV's way: weights of 11 bits, both axes, one rounding at the end.

    Its bilinear path drops low bits on the way (`halves`), which is repeated here.
    """
    across, down = _whole(columns), _whole(rows)
    values = picture.astype(np.int64)
    wide = np.zeros((values.shape[0], len(columns.places), values.shape[2]), np.int64)
    for place, weight in zip(columns.places.T, across.T, strict=True):
        wide += values[:, place] * weight[None, :, None]
    made = np.zeros((len(rows.places), *wide.shape[1:]), np.int64)
    for place, weight in zip(rows.places.T, down.T, strict=True):
        part = wide[place] >> 4 if halves else wide[place]
        part = part * weight[:, None, None]
        made += part >> 16 if halves else part
    if halves:
        return _bytes((made + 2) >> 2)
    return _bytes((made + (1 << (2 * FIXED_BITS - 1))) >> (2 * FIXED_BITS))


def _whole(table: Taps) -> NDArray[np.int64]:
    return np.rint(table.weights * (1 << FIXED_BITS)).astype(np.int64)


def _bytes(values: NDArray[np.generic]) -> Picture:
    made: Picture = np.clip(values, 0, 255).astype(np.uint8)
    return made
