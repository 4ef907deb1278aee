"""Where each buffer lies in one block of memory, so that none held at the same time overlap.

Finding the smallest block is hard; each order here places one buffer after the other at the lowest
free offset, and the best order wins. No block can be smaller than what is held at a time; where the
best order needs more, a short search changes it, the same way every time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cvtrainer.deploy.planner.lifetimes import Buffer, held_at

_TRIES = 200
_WORK = 20_000
"""Placing many buffers takes long: so many are placed at the most, in all tries together."""

Order = Callable[[Sequence[Buffer]], list[Buffer]]


@dataclass(frozen=True)
class Arena:
    """`offsets` stand in the order of the buffers; `by_order` tells what each order needs."""

    bytes: int
    order: str
    offsets: tuple[int, ...]
    by_order: dict[str, int]


def arrange(buffers: Sequence[Buffer]) -> Arena:
    """The best of the orders."""
    orders = {name: order(buffers) for name, order in ORDERS.items()}
    placed = {name: place(buffers, order) for name, order in orders.items()}
    needs = {name: _end(buffers, offsets) for name, offsets in placed.items()}
    best = min(needs, key=lambda name: needs[name])
    least = max(
        (sum(other.bytes for other in held_at(buffers, one.born)) for one in buffers), default=0
    )
    if needs[best] > least:
        placed[SEARCH] = _search(buffers, orders[best], least)
        needs[SEARCH] = _end(buffers, placed[SEARCH])
        best = min(needs, key=lambda name: needs[name])
    return Arena(needs[best], best, tuple(placed[best]), needs)


def place(buffers: Sequence[Buffer], order: Sequence[Buffer]) -> list[int]:
    """Offsets, when each buffer in turn takes the lowest gap that is wide enough."""
    found: dict[int, int] = {}
    for one in order:
        start = 0
        for offset, end in sorted(
            (found[id(other)], found[id(other)] + other.bytes)
            for other in order
            if id(other) in found and other.born <= one.dies and one.born <= other.dies
        ):
            if start + one.bytes <= offset:
                break
            start = max(start, end)
        found[id(one)] = start
    return [found[id(one)] for one in buffers]


def _search(buffers: Sequence[Buffer], order: list[Buffer], least: int) -> list[int]:
    """Place what ended up on top sooner, again and again, until nothing can be gained."""
    draw = random.Random(0)
    best = place(buffers, order)
    for _ in range(min(_TRIES, _WORK // len(buffers))):
        offsets = place(buffers, order)
        end = _end(buffers, offsets)
        if end < _end(buffers, best):
            best = offsets
        if end == least:
            break
        pairs = zip(offsets, buffers, strict=True)
        top = draw.choice([one for at, one in pairs if at + one.bytes == end])
        at = next(at for at, one in enumerate(order) if one is top)
        order = [one for one in order if one is not top]
        order.insert(draw.randrange(at + 1), top)
    return best


def _by_size(buffers: Sequence[Buffer]) -> list[Buffer]:
    """The greatest first, as TFLM does."""
    return sorted(buffers, key=lambda one: (-one.bytes, one.born))


def _by_breadth(buffers: Sequence[Buffer]) -> list[Buffer]:
    """What is held in the fullest step first, the greatest of it before the others."""
    times = {one.born for one in buffers}
    full = {at: sum(one.bytes for one in held_at(buffers, at)) for at in times}
    rank: dict[int, int] = {}
    for at in sorted(times, key=lambda at: -full[at]):
        for one in _by_size(held_at(buffers, at)):
            rank.setdefault(id(one), len(rank))
    return sorted(buffers, key=lambda one: rank[id(one)])


def _by_area(buffers: Sequence[Buffer]) -> list[Buffer]:
    """What takes the most memory for the longest first."""
    return sorted(buffers, key=lambda one: (-one.bytes * (one.dies - one.born + 1), one.born))


def _by_length(buffers: Sequence[Buffer]) -> list[Buffer]:
    """What is held longest first."""
    return sorted(buffers, key=lambda one: (one.born - one.dies, -one.bytes))


def _by_execution(buffers: Sequence[Buffer]) -> list[Buffer]:
    """As a runtime that plans nothing would ask for them."""
    return sorted(buffers, key=lambda one: one.born)


def _end(buffers: Sequence[Buffer], offsets: Sequence[int]) -> int:
    return max((at + one.bytes for at, one in zip(offsets, buffers, strict=True)), default=0)


SEARCH = "search"
ORDERS: dict[str, Order] = {
    "size": _by_size,
    "breadth": _by_breadth,
    "area": _by_area,
    "length": _by_length,
    "execution": _by_execution,
}
