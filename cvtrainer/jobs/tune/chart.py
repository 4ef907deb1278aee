"""A line chart as PNG, drawn with Pillow: two axes with ticks, lines, marked places, a legend.

Enough for a curve over a learning rate, on a scale by decades or an even one; a drawing library
for one picture would cost more to install than the rest of this room.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

_SIZE = (960, 560)
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 24, 52, 64
_PAPER, _INK, _GRID, _FAINT = (255, 255, 255), (40, 40, 44), (226, 226, 230), (176, 188, 206)
_LINES: tuple[Colour, ...] = ((28, 92, 186), (200, 96, 20))
_MARKS: tuple[Colour, ...] = ((190, 40, 40), (20, 130, 70), (120, 60, 160))
_FONT_SIZE = 14


@dataclass(frozen=True)
class Line:
    """Values over the chart's x; a faint one stays in the background and sets no scale."""

    name: str
    values: Sequence[float]
    faint: bool = False


def draw_chart(
    x: Sequence[float],
    lines: Sequence[Line],
    *,
    title: str,
    across: str,
    marks: Mapping[str, float] | None = None,
    by_decade: bool = False,
) -> bytes:
    """The picture; `marks` are named places on x."""
    paper = Image.new("RGB", _SIZE, _PAPER)
    frame = _Frame(x, _heights(lines), by_decade=by_decade)
    pen = _Pen(ImageDraw.Draw(paper), frame)
    pen.axes(title, across)
    pen.lines(x, lines)
    pen.marks(marks or {})
    stream = io.BytesIO()
    paper.save(stream, "PNG")
    return stream.getvalue()


def _heights(lines: Sequence[Line]) -> tuple[float, float]:
    """The range shown: where a line goes through the roof, what lies below stays readable."""
    leading = [line for line in lines if not line.faint] or list(lines)
    values = [value for line in leading for value in line.values if math.isfinite(value)]
    if not values:
        return 0.0, 1.0
    low, first = min(values), values[0]
    high = min(max(values), first + max(first - low, 0.25 * abs(first)))
    room = 0.08 * ((high - low) or abs(high) or 1.0)
    return low - room, high + room


class _Frame:
    """Where a point of the data lies on the paper."""

    def __init__(
        self, x: Sequence[float], heights: tuple[float, float], *, by_decade: bool
    ) -> None:
        self.by_decade = by_decade
        self.low, self.high = heights
        ends = [self._scaled(value) for value in (x[0], x[-1])] if len(x) else [0.0, 1.0]
        self.first, self.last = min(ends), max(ends)
        if self.first == self.last:
            self.last = self.first + 1.0

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.by_decade else value

    def across(self, value: float) -> float:
        """Pixels from the left."""
        share = (self._scaled(value) - self.first) / (self.last - self.first)
        return _LEFT + share * (_SIZE[0] - _LEFT - _RIGHT)

    def down(self, value: float) -> float:
        """Pixels from the top; what lies outside is cut off just beyond the frame."""
        share = (value - self.low) / (self.high - self.low)
        return _SIZE[1] - _BOTTOM - min(max(share, 0.0), 1.0) * (_SIZE[1] - _TOP - _BOTTOM)

    def ticks_across(self) -> list[float]:
        if not self.by_decade:
            return _round_steps(self.first, self.last)
        return [
            10.0**power for power in range(math.ceil(self.first), math.floor(self.last) + 1)
        ] or [10.0**self.first, 10.0**self.last]


def _round_steps(low: float, high: float, count: int = 6) -> list[float]:
    """About so many round numbers between the two."""
    raw = (high - low) / count
    size = 10.0 ** math.floor(math.log10(raw))
    step = next((size * many for many in (1, 2, 5) if size * many >= raw), size * 10)
    first = math.ceil(low / step)
    return [place * step for place in range(first, math.floor(high / step) + 1)]


class _Pen:
    """Draws into the frame."""

    def __init__(self, draw: ImageDraw.ImageDraw, frame: _Frame) -> None:
        self._draw = draw
        self._frame = frame
        self._font = ImageFont.load_default(_FONT_SIZE)

    def axes(self, title: str, across: str) -> None:
        """Frame, grid, numbers, and what they mean."""
        frame, bottom, right = self._frame, _SIZE[1] - _BOTTOM, _SIZE[0] - _RIGHT
        for value in frame.ticks_across():
            place = frame.across(value)
            self._draw.line((place, _TOP, place, bottom), fill=_GRID)
            self._text(place, bottom + 6, f"{value:.3g}", anchor="ma")
        for value in _round_steps(frame.low, frame.high):
            place = frame.down(value)
            self._draw.line((_LEFT, place, right, place), fill=_GRID)
            self._text(_LEFT - 8, place, f"{value:.4g}", anchor="rm")
        self._draw.rectangle((_LEFT, _TOP, right, bottom), outline=_INK)
        self._text(_LEFT, 10, title)
        self._text((_LEFT + right) / 2, _SIZE[1] - 28, across, anchor="ma")

    def lines(self, x: Sequence[float], lines: Sequence[Line]) -> None:
        """Faint lines first; values that are no numbers leave gaps."""
        leading = 0
        legend = float(_LEFT)
        for line in sorted(lines, key=lambda one: not one.faint):
            colour = _FAINT if line.faint else _LINES[leading % len(_LINES)]
            leading += not line.faint
            points: list[tuple[float, float]] = []
            for place, value in zip(x, line.values, strict=True):
                if math.isfinite(value):
                    points.append((self._frame.across(place), self._frame.down(value)))
                    continue
                self._stroke(points, colour, line)
                points = []
            self._stroke(points, colour, line)
            self._draw.line((legend, 40, legend + 24, 40), fill=colour, width=3)
            self._text(legend + 30, 40, line.name, anchor="lm")
            legend += 52 + self._font.getlength(line.name)

    def marks(self, marks: Mapping[str, float]) -> None:
        """Upright lines with their names, each a line of text lower than the one before."""
        for number, (name, value) in enumerate(marks.items()):
            place, colour = self._frame.across(value), _MARKS[number % len(_MARKS)]
            self._draw.line((place, _TOP, place, _SIZE[1] - _BOTTOM), fill=colour, width=2)
            text = f"{name} {value:.3g}"
            fits = place + 8 + self._font.getlength(text) < _SIZE[0] - _RIGHT
            spot = (place + 6, "la") if fits else (place - 6, "ra")
            height = _TOP + 8 + number * (_FONT_SIZE + 6)
            self._text(spot[0], height, text, anchor=spot[1], colour=colour)

    def _stroke(self, points: Sequence[tuple[float, float]], colour: Colour, line: Line) -> None:
        if len(points) > 1:
            self._draw.line(list(points), fill=colour, width=1 if line.faint else 3)
        elif points:
            self._draw.point(list(points), fill=colour)

    def _text(
        self, left: float, top: float, text: str, *, anchor: str = "la", colour: Colour = _INK
    ) -> None:
        self._draw.text((left, top), text, fill=colour, font=self._font, anchor=anchor)
