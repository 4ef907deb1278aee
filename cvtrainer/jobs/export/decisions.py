"""Whether two sets of outputs say the same of a sample, as its task tells it.

Words, numbers of classes and truths must be equal; how sure it is may differ. Other numbers must be
within a hundredth, points within one place. Found objects are the same where each has a partner of
its class in its place and of its size; maps of classes where nearly all of their places agree. How
many do is told besides: among thousands of places some always lie between two classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from torch import Tensor

from cvtrainer.jobs.prediction.writing import told_at
from cvtrainer.protocols import Outputs, Reading
from cvtrainer.tasks.reading import tells_below

_PLACES = 0.999
_OVERLAP = 0.9
_SURE = ("probability", "score")
_POINT = ("x", "y")
_RANKED = ("top",)
"""Whose order turns on the smallest difference; the first of them is told by itself, too."""


@dataclass(frozen=True)
class Likeness:
    """Whether both decide a sample alike, and which share of its objects and places they do; of
    samples that have neither, all or nothing. `silent`: objects are asked for, and neither finds
    any."""

    alike: bool
    share: float
    silent: bool = False


def likeness(
    reading: Reading, mine: Outputs, theirs: Outputs, place: int, classes: Sequence[str] | None
) -> Likeness:
    """Of the sample at that place."""
    told, other = (reading.describe(one, place, classes) for one in (mine, theirs))
    maps = [
        _share_of_map(value[place], theirs[name][place])
        for name, value in mine.items()
        if isinstance(value, Tensor) and value.ndim == 3 and not value.is_floating_point()
    ]
    alike = _same(told, other) and all(one >= _PLACES for one in maps)
    shares = list(maps)
    for path in tells_below(reading):
        shares += _shares_of_objects(told_at(told, path), told_at(other, path))
    silent = _is_silent(told) and _is_silent(other)
    return Likeness(alike, fmean(shares) if shares else float(alike), silent)


def _is_silent(told: Any) -> bool:
    """Whether all that it says is that nothing is there."""
    if not isinstance(told, Mapping) or not told:
        return False
    return all(
        not value if _are_objects(key, value) else _is_silent(value) for key, value in told.items()
    )


def _are_objects(key: str, value: Any) -> bool:
    """Not a reading that is called so."""
    return key == "objects" and isinstance(value, list)


def _same(told: Any, other: Any, name: str = "") -> bool:
    if isinstance(told, float) or isinstance(other, float):
        both = isinstance(told, float) and isinstance(other, float)
        return both and (name in _SURE or _near(told, other, name))
    if isinstance(told, Mapping):
        if not isinstance(other, Mapping) or told.keys() != other.keys():
            return False
        return all(
            _same_objects(value, other[key])
            if _are_objects(key, value) and isinstance(other[key], list)
            else _same(value, other[key], str(key))
            for key, value in told.items()
            if key not in _RANKED
        )
    if isinstance(told, list | tuple):
        if not isinstance(other, list | tuple) or len(told) != len(other):
            return False
        return all(_same(one, two, name) for one, two in zip(told, other, strict=True))
    return bool(told == other)


def _near(told: float, other: float, name: str) -> bool:
    if name in _POINT:
        return abs(told - other) <= 1.0
    return math.isclose(told, other, rel_tol=0.01, abs_tol=0.001)


def _same_objects(objects: Sequence[Any], others: Sequence[Any]) -> bool:
    """Each object has a partner; the order may differ where scores are nearly equal."""
    return 2 * _partners(objects, others) == len(objects) + len(others)


def _shares_of_objects(told: Mapping[str, Any], other: Mapping[str, Any]) -> list[float]:
    """Those with a partner among the objects of both; nothing where none can be found."""
    if "objects" not in told or "objects" not in other:
        return []
    objects, others = told["objects"], other["objects"]
    every = len(objects) + len(others)
    return [2 * _partners(objects, others) / every if every else 1.0]


def _partners(objects: Sequence[Any], others: Sequence[Any]) -> int:
    left, found = list(others), 0
    for one in objects:
        partner = next((two for two in left if _same_object(one, two)), None)
        if partner is not None:
            left.remove(partner)
            found += 1
    return found


def _same_object(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    small, large = sorted((one.get("area", 1), two.get("area", 1)))
    alike = one["class"] == two["class"] and small >= _OVERLAP * large
    return alike and _overlap(one["box"], two["box"]) >= _OVERLAP


def _overlap(box: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union."""
    sides = [
        max(0.0, min(box[end], other[end]) - max(box[start], other[start]))
        for start, end in ((0, 2), (1, 3))
    ]
    both = sides[0] * sides[1]
    areas = sum((one[2] - one[0]) * (one[3] - one[1]) for one in (box, other))
    return both / (areas - both) if areas > both else 1.0


def _share_of_map(mine: Tensor, theirs: Tensor) -> float:
    return float((mine == theirs).float().mean()) if mine.shape == theirs.shape else 0.0
