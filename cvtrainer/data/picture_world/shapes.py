"""Outlines of the shapes, each with the same area, so that size does not betray the class.

A shape is a union of polygons around the origin plus polygons cut out of it; an outline is scaled
to area 1 and then turned, scaled and moved by whoever draws it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

CLASSES = ("circle", "square", "triangle", "star", "cross", "ring")
"""The classes of the picture world, in the order of their numbers."""

ALL_SHAPES = (*CLASSES, "crescent", "bar", "arrow", "hourglass")
"""Ten shapes, for sets that need ten classes."""

MARKS: dict[str, tuple[str, ...]] = {"arrow": ("tip", "left", "right", "tail")}
"""Named places of a shape that looks different from every side; the others have none."""

_ROUND_STEPS = 48
_NO_MARKS: Points = np.zeros((0, 2))


class Outline(NamedTuple):
    """Polygons that are filled, polygons that are cut out again, marked places; total area 1."""

    filled: tuple[Points, ...]
    cut: tuple[Points, ...] = ()
    marks: Points = _NO_MARKS

    def placed(self, centre: tuple[float, float], area: float, angle: float) -> Outline:
        """Turned by `angle` (radians), of that area, around that centre (x, y)."""
        turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        linear = turn * math.sqrt(area)

        def move(points: Points) -> Points:
            moved: Points = points @ linear + np.array(centre)
            return moved

        filled, cut = tuple(map(move, self.filled)), tuple(map(move, self.cut))
        return Outline(filled, cut, move(self.marks))


def outline(name: str) -> Outline:
    """The outline of that shape with area 1 and its middle at the origin."""
    filled, cut = _DRAWINGS[name]()
    area = abs(sum(map(_area, filled))) - abs(sum(map(_area, cut)))
    factor = 1.0 / math.sqrt(area)
    marks = _MARKED.get(name, _NO_MARKS) * factor
    return Outline(tuple(p * factor for p in filled), tuple(p * factor for p in cut), marks)


def _area(points: Points) -> float:
    x, y = points[:, 0], points[:, 1]
    return abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2.0


def _round(radius: float, x: float = 0.0) -> Points:
    turns = np.linspace(0.0, 2.0 * math.pi, _ROUND_STEPS, endpoint=False)
    return np.stack([x + radius * np.cos(turns), radius * np.sin(turns)], axis=1)


def _star(points: int, inner: float) -> Points:
    turns = np.linspace(0.0, 2.0 * math.pi, 2 * points, endpoint=False)
    radius = np.where(np.arange(2 * points) % 2 == 0, 1.0, inner)
    return np.stack([radius * np.sin(turns), -radius * np.cos(turns)], axis=1)


def _polygon(*points: tuple[float, float]) -> Points:
    return np.array(points, dtype=np.float64)


_Parts = tuple[tuple[Points, ...], tuple[Points, ...]]


def _circle() -> _Parts:
    return (_round(1.0),), ()


def _square() -> _Parts:
    return (_polygon((-1, -1), (1, -1), (1, 1), (-1, 1)),), ()


def _triangle() -> _Parts:
    return (_star(3, 0.5),), ()


def _five_points() -> _Parts:
    return (_star(5, 0.42),), ()


def _cross() -> _Parts:
    a = 0.34
    return (
        _polygon(
            *((-a, -1), (a, -1), (a, -a), (1, -a), (1, a), (a, a)),
            *((a, 1), (-a, 1), (-a, a), (-1, a), (-1, -a), (-a, -a)),
        ),
    ), ()


def _ring() -> _Parts:
    return (_round(1.0),), (_round(0.55),)


def _crescent() -> _Parts:
    """A disc without the lens that a second disc cuts from it, as one outline."""
    shift, radius = 0.55, 0.85
    x = (1.0 - radius**2 + shift**2) / (2.0 * shift)
    outer = math.acos(x)
    inner = math.atan2(math.sin(outer), x - shift)
    back = np.linspace(outer, 2.0 * math.pi - outer, _ROUND_STEPS)
    front = np.linspace(2.0 * math.pi - inner, inner, _ROUND_STEPS)[1:-1]
    rim = np.stack([np.cos(back), np.sin(back)], axis=1)
    bite = np.stack([shift + radius * np.cos(front), radius * np.sin(front)], axis=1)
    return (np.concatenate([rim, bite]),), ()


def _bar() -> _Parts:
    return (_polygon((-1, -0.3), (1, -0.3), (1, 0.3), (-1, 0.3)),), ()


def _arrow() -> _Parts:
    return (
        _polygon(
            *((-1, -0.26), (0.1, -0.26), (0.1, -0.75), (1, 0)),
            *((0.1, 0.75), (0.1, 0.26), (-1, 0.26)),
        ),
    ), ()


def _hourglass() -> _Parts:
    a = 0.12
    return (_polygon((-1, -1), (-a, 0), (-1, 1), (1, 1), (a, 0), (1, -1)),), ()


_DRAWINGS = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _five_points,
    "cross": _cross,
    "ring": _ring,
    "crescent": _crescent,
    "bar": _bar,
    "arrow": _arrow,
    "hourglass": _hourglass,
}

_MARKED = {"arrow": _polygon((1, 0), (0.1, -0.75), (0.1, 0.75), (-1, 0))}
