"""Panels in rows on a sheet, each with a caption, and a legend of class colours below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from cvtrainer.pictures.drawing.colours import colour_of
from cvtrainer.pictures.drawing.lettering import Lettering

_GAP = 8
_PAPER = (12, 12, 13)
_INK = (225, 225, 228)
_DIM = (150, 150, 155)
_WIDTH = 1560
_MOST_LEGEND = 30


class Cell(NamedTuple):
    """One sample: its panels side by side, its label, and what it is called."""

    panels: tuple[Image.Image, ...]
    label: str
    name: str


def sheet(
    cells: Sequence[Cell], lettering: Lettering, *, title: str, legend: Sequence[int] = ()
) -> Image.Image:
    """The cells in rows; `legend` are the classes whose colours are explained."""
    side = cells[0].panels[0].height
    width = sum(one.width for one in cells[0].panels) + 2 * (len(cells[0].panels) - 1)
    line = lettering.size + 5
    columns = max(1, min(len(cells), (_WIDTH - _GAP) // (width + _GAP)))
    rows = -(-len(cells) // columns)
    below = _legend_lines(legend, lettering, columns * (width + _GAP) - _GAP)
    head = line + _GAP
    size = (
        columns * (width + _GAP) + _GAP,
        head + rows * (side + 2 * line + _GAP) + _GAP + len(below) * line,
    )
    paper = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(paper)
    _write(draw, (_GAP, _GAP // 2), title, lettering, size[0] - 2 * _GAP, _INK)
    for number, cell in enumerate(cells):
        x = _GAP + number % columns * (width + _GAP)
        y = head + number // columns * (side + 2 * line + _GAP)
        left = x
        for one in cell.panels:
            paper.paste(one, (left, y))
            left += one.width + 2
        _write(draw, (x, y + side + 1), cell.label, lettering, width, _INK)
        _write(draw, (x, y + side + line), cell.name, lettering, width, _DIM)
    top = size[1] - len(below) * line - _GAP // 2
    for number, entries in enumerate(below):
        x = _GAP
        for mark, text in entries:
            y = top + number * line
            draw.rectangle((x, y + 3, x + 9, y + 12), fill=colour_of(mark))
            draw.text((x + 13, y), text, font=lettering.font, fill=_INK)
            x += 13 + lettering.width(text) + 14
    return paper


def _legend_lines(
    numbers: Sequence[int], lettering: Lettering, width: int
) -> list[list[tuple[int, str]]]:
    lines: list[list[tuple[int, str]]] = []
    used = width + 1
    for number in numbers[:_MOST_LEGEND]:
        text = lettering.name(number)
        needed = 27 + lettering.width(text)
        if used + needed > width:
            lines.append([])
            used = 0
        lines[-1].append((number, text))
        used += needed
    return lines


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    lettering: Lettering,
    width: int,
    ink: tuple[int, int, int],
) -> None:
    """The text, shortened in the middle where it is too long."""
    shown = lettering.text(text)
    while shown and lettering.width(shown) > width:
        half = (len(shown) - 2) // 2
        if half < 1:
            break
        shown = f"{shown[:half]}…{shown[-half:]}" if "…" not in shown else _narrower(shown)
    draw.text(place, shown, font=lettering.font, fill=ink)


def _narrower(text: str) -> str:
    left, _, right = text.partition("…")
    return f"{left[:-1]}…{right[1:]}"
