"""Where each buffer lies in one block of memory, so that none held at the same time overlap.

Finding the smallest block is hard; each order here places one buffer after the other at the lowest
free offset, and the best order wins. No block can be smaller than what is held at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cvtrainer.deploy.planner.lifetimes import Buffer, held_at

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
    placed = {name: place(buffers, order(buffers)) for name, order in ORDERS.items()}
    needs = {name: _end(buffers, offsets) for name, offsets in placed.items()}
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


ORDERS: dict[str, Order] = {
    "size": _by_size,
    "breadth": _by_breadth,
    "area": _by_area,
    "length": _by_length,
    "execution": _by_execution,
}
