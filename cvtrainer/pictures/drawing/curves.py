"""Series as lines, sounds as waves, vectors as bars. Missing values leave gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cvtrainer.pictures.drawing.colours import colour_of

_GROUND = (28, 28, 30)
_AXIS = (80, 80, 84)
_EDGE = 6
_MOST_CHANNELS = 12


def draw_series(x: Any, side: int) -> Image.Image:
    """Every channel of [T, C] as a line, all on one scale."""
    square, draw = _square(side)
    values = np.asarray(x, dtype=np.float64)[:, :_MOST_CHANNELS]
    finite = values[np.isfinite(values)]
    if not len(finite):
        return square
    low, high = float(finite.min()), float(finite.max())
    span = high - low or 1.0
    if low < 0 < high:
        _level(draw, side, (0 - low) / span)
    across = _EDGE + np.arange(len(values)) / max(len(values) - 1, 1) * (side - 2 * _EDGE)
    for channel in range(values.shape[1]):
        heights = side - _EDGE - (values[:, channel] - low) / span * (side - 2 * _EDGE)
        _line(draw, across, heights, colour_of(channel))
    return square


def draw_wave(x: Any, side: int) -> Image.Image:
    """The loudest and softest value of each column, channels below each other."""
    square, draw = _square(side)
    channels = np.atleast_2d(np.nan_to_num(np.asarray(x, dtype=np.float64)))[:4]
    band = side / len(channels)
    top = max(float(np.abs(channels).max()), 1e-9)
    for number, channel in enumerate(channels):
        middle = band * (number + 0.5)
        draw.line((0, middle, side, middle), fill=_AXIS)
        edges = np.linspace(0, len(channel), side + 1).astype(int)
        for column in range(side):
            part = channel[edges[column] : max(edges[column + 1], edges[column] + 1)]
            if len(part):
                high, low = float(part.max()) / top, float(part.min()) / top
                reach = band / 2 - 3
                spot = (column, middle - high * reach, column, middle - low * reach)
                draw.line(spot, fill=colour_of(number))
    return square


def draw_bars(x: Any, side: int) -> Image.Image:
    """A bar for each feature of a vector."""
    square, draw = _square(side)
    values = np.asarray(x, dtype=np.float64).ravel()[: side // 3]
    finite = values[np.isfinite(values)]
    if not len(finite):
        return square
    low, high = min(float(finite.min()), 0.0), max(float(finite.max()), 0.0)
    span = high - low or 1.0
    width = (side - 2 * _EDGE) / len(values)
    ground = side - _EDGE - (0 - low) / span * (side - 2 * _EDGE)
    for number, value in enumerate(values.tolist()):
        if not np.isfinite(value):
            continue
        y = side - _EDGE - (value - low) / span * (side - 2 * _EDGE)
        left = _EDGE + number * width
        box = (left, min(y, ground), left + max(width - 1, 1), max(y, ground))
        draw.rectangle(box, fill=colour_of(number))
    return square


def _line(draw: ImageDraw.ImageDraw, across: Any, heights: Any, colour: Any) -> None:
    good = np.isfinite(heights)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], good, [False])).astype(np.int8)))
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        points = list(zip(across[start:stop].tolist(), heights[start:stop].tolist(), strict=True))
        if len(points) == 1:
            draw.point(points, fill=colour)
        else:
            draw.line(points, fill=colour, width=1)


def _level(draw: ImageDraw.ImageDraw, side: int, share: float) -> None:
    y = side - _EDGE - share * (side - 2 * _EDGE)
    draw.line((0, y, side, y), fill=_AXIS)


def _square(side: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    square = Image.new("RGB", (side, side), _GROUND)
    return square, ImageDraw.Draw(square)
