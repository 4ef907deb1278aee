"""Schedules as pure functions: how far a run is, in; the share of the full rate, out.

`done` counts what is over, epochs or steps; it may be a fraction where a warm-up is taken off.
A curve that has an end holds its last value from there on. Nothing is remembered between calls,
so that a resumed run computes what the unbroken one does.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal

Anneal = Literal["cos", "linear"]


def constant(done: float) -> float:
    return 1.0


def step(done: float, *, step_size: int, gamma: float) -> float:
    return math.pow(gamma, done // step_size)


def multi_step(done: float, *, milestones: Sequence[int], gamma: float) -> float:
    return math.pow(gamma, bisect_right(sorted(milestones), done))


def cosine(done: float, *, total_steps: float, final: float) -> float:
    return final + (1 - final) * (1 + math.cos(math.pi * _share(done, total_steps))) / 2


def linear(done: float, *, total_steps: float, final: float) -> float:
    return 1 + (final - 1) * _share(done, total_steps)


def polynomial(done: float, *, total_steps: float, power: float, final: float) -> float:
    return final + (1 - final) * math.pow(1 - _share(done, total_steps), power)


def exponential(done: float, *, gamma: float, final: float) -> float:
    return final + (1 - final) * math.pow(gamma, done)


def one_cycle(
    done: float,
    *,
    total_steps: int,
    pct_start: float,
    div_factor: float,
    final_div_factor: float,
    anneal: Anneal,
) -> float:
    """Up from 1/div_factor to 1, then down to a `final_div_factor`-th of where it began."""
    low = 1 / div_factor
    return cycle(done, total_steps, pct_start, (low, 1.0, low / final_div_factor), anneal)


def cycle(
    done: float,
    total_steps: int,
    pct_start: float,
    values: tuple[float, float, float],
    anneal: Anneal,
) -> float:
    """Through three values: the second at the share `pct_start`, the third at the last step."""
    first, middle, last = values
    top, end = pct_start * total_steps - 1, total_steps - 1
    done = min(done, end)
    if done <= top:
        return _between(first, middle, done / top if top else 1.0, anneal)
    return _between(middle, last, (done - top) / (end - top), anneal)


def _between(start: float, end: float, share: float, anneal: Anneal) -> float:
    if anneal == "linear":
        return start + (end - start) * share
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _share(done: float, total: float) -> float:
    return min(done / total, 1.0)
