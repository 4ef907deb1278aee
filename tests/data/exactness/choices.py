"""All ways of making a batch, and a small choice of them in which each pair of values occurs.

The choice is made greedily and is the same every time. It leaves out what a few seconds cannot
hold: fresh interpreters (spawn) run with one worker and not for every content; and no workers is
what everything is compared with, so it need not meet every content either.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from typing import NamedTuple

from tests.data.exactness.contents import CONTENTS

IN_THREADS = tuple(name for name in CONTENTS if name not in ("drawn", "native_albumentations"))


class Way(NamedTuple):
    """One way of making the batches of a content."""

    content: str
    who: str
    workers: int
    ranks: int
    start: int

    def __str__(self) -> str:
        started = f"from-{self.start}" if self.start else "fresh"
        return f"{self.content}-{self.who}-{self.workers}-{self.ranks}ranks-{started}"


def every_way() -> Iterator[Way]:
    """The full cross."""
    for content, who, workers, ranks, start in product(
        CONTENTS, ("threads", "fork", "forkserver", "spawn"), (0, 1, 2, 4), (1, 2), (0, 2)
    ):
        if who == "threads" and content not in IN_THREADS:
            continue
        if workers == 0 and who != "threads" and (who != "fork" or content in IN_THREADS):
            continue  # nobody is started: one of the words is enough
        yield Way(content, who, workers, ranks, start)


def pairwise() -> list[Way]:
    """A few ways that hold each possible pair of values."""
    possible = [way for way in every_way() if way.who != "spawn" or way.workers == 1]
    missing = {pair for way in possible for pair in _pairs(way) if not _left_out(pair)}
    chosen: list[Way] = []
    while missing:
        best = max(possible, key=lambda way: len(missing & _pairs(way)))
        missing -= _pairs(best)
        chosen.append(best)
    return chosen


Value = tuple[str, object]


def _left_out(pair: tuple[Value, Value]) -> bool:
    (first, _), second = pair
    return first == "content" and second in (("who", "spawn"), ("workers", 0))


def _pairs(way: Way) -> set[tuple[Value, Value]]:
    values = list(zip(way._fields, way, strict=True))
    return set(combinations(values, 2))
