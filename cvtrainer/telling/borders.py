"""The outer borders of a mask as polygons, by following them (Suzuki and Abe, 1985)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_AROUND = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
"""Row and column of the eight neighbours, against the clock from the right one on."""
_LEFT = 4
_MET, _LEAVING = 2, -2
"""Marks on a border that was followed; the second where what is right of it lies outside."""


def polygons_of(mask: NDArray[Any]) -> list[list[float]]:
    """Each outer border of a mask `[H, W]` as x1, y1, x2, y2 ..., a quarter of a place inside."""
    grown = np.kron(mask != 0, np.ones((2, 2), bool))
    return [
        ((np.asarray(one) + 0.5) / 2).reshape(-1).tolist()
        for one in outer_borders(grown)
        if len(one) > 2
    ]


def outer_borders(mask: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """The corners (x, y) of the border of each part that lies in no hole of another."""
    field = np.pad(mask.astype(np.int8), 1)
    starts = np.argwhere((field[:, 1:] == 1) & (field[:, :-1] == 0))
    found = []
    for row, column in starts.tolist():
        column += 1
        if field[row, column] == 1 and not _inside(field[row, :column]):
            border = _followed(field, (row, column))
            found.append([(x - 1, y - 1) for y, x in _corners(border)])
    return found


def _inside(before: NDArray[np.int8]) -> bool:
    """Whether the last border to the left was entered and not left."""
    marks = before[(before == _MET) | (before == _LEAVING)]
    return bool(len(marks)) and int(marks[-1]) == _MET


def _followed(field: NDArray[np.int8], start: tuple[int, int]) -> list[tuple[int, int]]:
    """The places of a border from its first one on; they are marked in the field."""
    first = next(
        (way for way in _ways(_LEFT, -1) if field[_next(start, way)]), None
    )  # with the clock
    if first is None:
        field[start] = _LEAVING
        return [start]
    end, here, back, border = _next(start, first), start, first, []
    while True:
        past_right = False
        for way in _ways(back, 1):  # against the clock
            if field[_next(here, way)]:
                break
            past_right = past_right or way == 0
        border.append(here)
        if past_right:
            field[here] = _LEAVING
        elif field[here] == 1:
            field[here] = _MET
        there = _next(here, way)
        if there == start and here == end:
            return border
        here, back = there, (way + 4) % 8


def _ways(beside: int, turn: int) -> list[int]:
    """All eight, from the one next to it on, itself last."""
    return [(beside + turn * step) % 8 for step in range(1, 9)]


def _next(place: tuple[int, int], way: int) -> tuple[int, int]:
    return place[0] + _AROUND[way][0], place[1] + _AROUND[way][1]


def _corners(border: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without what lies on a straight way between its neighbours."""
    count = len(border)
    kept = []
    for number, here in enumerate(border):
        before, after = border[number - 1], border[(number + 1) % count]
        came = (here[0] - before[0], here[1] - before[1])
        goes = (after[0] - here[0], after[1] - here[1])
        if came != goes or count == 1:
            kept.append(here)
    return kept
