"""Placing buffers: by hand, and what searching adds."""

from __future__ import annotations

from cvtrainer.deploy.planner.arena import arrange, place
from cvtrainer.deploy.planner.lifetimes import Buffer


def buffer(size: int, born: int, dies: int) -> Buffer:
    return Buffer(size, born, dies, [])


def test_each_takes_the_lowest_gap_that_is_wide_enough() -> None:
    first, gone, last = buffer(4, 0, 9), buffer(2, 0, 1), buffer(3, 0, 9)
    small, wide = buffer(2, 2, 9), buffer(5, 2, 9)
    buffers = [first, gone, last, small, wide]
    assert place(buffers, buffers) == [0, 4, 6, 4, 9]
    assert arrange([]).bytes == 0


def test_a_hole_that_is_too_small_makes_execution_order_worse() -> None:
    """As in an inverted bottleneck: a wide value between two that could share their place."""
    buffers = [buffer(98, 0, 1), buffer(588, 1, 2), buffer(147, 2, 3)]
    arena = arrange(buffers)
    assert arena.by_order["execution"] == 98 + 588 + 147
    assert (arena.bytes, arena.order) == (588 + 147, "size")
    assert "search" not in arena.by_order


def test_searching_closes_the_gap_that_every_order_leaves() -> None:
    """The sizes and times of a real network (MNASNet at 96 px), in KiB."""
    sizes = [(27, 0, 0), (36, 0, 1), (36, 1, 2), (18, 2, 3), (54, 3, 4), (14, 4, 5), (9, 5, 6)]
    sizes += [(27, 6, 7), (27, 7, 8), (9, 8, 10), (27, 10, 11), (27, 11, 12), (9, 12, 14)]
    buffers = [buffer(*one) for one in sizes]
    arena = arrange(buffers)
    others = min(count for name, count in arena.by_order.items() if name != "search")
    assert (arena.order, arena.bytes) == ("search", 72)
    assert others > 72
    assert arrange(buffers).offsets == arena.offsets
