"""Latencies as a PNG, drawn with Pillow: for each artefact a bar from p50 to p99, p90 marked."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from cvtrainer.jobs.bench.bench import Row

_WIDTH, _ROW, _TOP, _BOTTOM, _MARGIN = 960, 34, 56, 44, 24
_PAPER, _INK, _GRID, _BAR, _MARK = "#ffffff", "#28282c", "#e2e2e6", "#9dbbe4", "#be2828"
_TICKS = 5


def draw_latencies(rows: Sequence[Row], *, title: str) -> bytes:
    """The picture, its scale from 0 on."""
    font = ImageFont.load_default(14)
    names = [f"{row.name}  threads {row.threads or 'its own'}  batch {row.batch}" for row in rows]
    left = _MARGIN + min(520, int(max(font.getlength(name) for name in names)) + 12)
    most = max(row.p99_ms for row in rows)
    paper = Image.new("RGB", (_WIDTH, _TOP + _ROW * len(rows) + _BOTTOM), _PAPER)
    pen = ImageDraw.Draw(paper)
    pen.text((_MARGIN, 12), title, fill=_INK, font=font)
    bottom = _TOP + _ROW * len(rows)

    def across(value: float) -> float:
        return left + (_WIDTH - _MARGIN - 80 - left) * value / most

    for number in range(_TICKS + 1):
        value = most * number / _TICKS
        pen.line((across(value), _TOP, across(value), bottom), fill=_GRID)
        pen.text((across(value), bottom + 6), f"{value:.3g}", fill=_INK, font=font, anchor="ma")
    pen.text((_WIDTH - _MARGIN, bottom + 6), "ms", fill=_INK, font=font, anchor="ra")
    for number, (row, name) in enumerate(zip(rows, names, strict=True)):
        top = _TOP + number * _ROW + 7
        middle = top + 10
        pen.text((_MARGIN, middle), _cut(name, left - _MARGIN - 8, font), _INK, font, anchor="lm")
        pen.rectangle((across(row.p50_ms), top, across(row.p99_ms), top + 20), fill=_BAR)
        for value, colour in ((row.p50_ms, _INK), (row.p90_ms, _MARK)):
            pen.line((across(value), top - 2, across(value), top + 22), fill=colour, width=2)
        told = f"{row.p50_ms:.3g}"
        pen.text((across(row.p99_ms) + 6, middle), told, fill=_INK, font=font, anchor="lm")
    stream = io.BytesIO()
    paper.save(stream, "PNG")
    return stream.getvalue()


def _cut(name: str, room: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The end of a name says more than its beginning."""
    if font.getlength(name) <= room:
        return name
    while name and font.getlength(f"…{name}") > room:
        name = name[1:]
    return f"…{name}"
