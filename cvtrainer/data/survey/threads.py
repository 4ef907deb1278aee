"""Work on many rows by threads: results in order, and never more than a window of them waiting."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

BLOCK = 16
WINDOW_PER_THREAD = 3


def thread_count(asked: int | None = None) -> int:
    """As many as asked for, else as this process may use, at most sixteen."""
    if asked is not None:
        return max(asked, 1)
    return min(len(os.sched_getaffinity(0)), 16)


def in_order(work: Callable[[int], Result], count: int, *, threads: int) -> Iterator[Result]:
    """`work(0)`, `work(1)`, … of `count` rows; an exception surfaces at its own row."""
    if threads <= 1:
        yield from map(work, range(count))
        return

    def block(start: int) -> list[Result]:
        return [work(row) for row in range(start, min(start + BLOCK, count))]

    starts = iter(range(0, count, BLOCK))
    with ThreadPoolExecutor(threads, thread_name_prefix="survey") as pool:
        waiting: deque[Future[list[Result]]] = deque()
        try:
            for start in starts:
                waiting.append(pool.submit(block, start))
                if len(waiting) >= threads * WINDOW_PER_THREAD:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
