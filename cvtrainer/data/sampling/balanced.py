"""Each class equally often: rounds of one sample per class, rare samples coming back sooner.

No table is made for an epoch. A round takes each class once in an order of its own; the samples
of a class follow each other shuffled, each once before any comes again.
"""

from __future__ import annotations

from collections.abc import Sized

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.core.seeds import mix
from cvtrainer.data.sampling.classes_of import class_numbers
from cvtrainer.data.sampling.permutation import Numbers, Permutation
from cvtrainer.data.sampling.sampler import ORDER_PLACE, Order


class Balanced:
    """Every class that the data set shows, equally often in each epoch.

    `rounds` is how often: by default the size of the largest class, so that nothing is left out.
    With fewer, the large classes show another part of their samples in each epoch.
    """

    def __init__(self, rounds: int | None = None) -> None:
        if rounds is not None and rounds < 1:
            raise UserError(f"rounds is {rounds}", where="Balanced", todo="Use 1 or more.")
        self.rounds = rounds
        self.length = 0
        self._members: list[Numbers] = []

    def prepare(self, dataset: Sized) -> None:
        classes = class_numbers(dataset, "Balanced")
        by_class = np.argsort(classes, kind="stable").astype(np.int64)
        starts = np.flatnonzero(np.diff(classes[by_class])) + 1
        self._members = np.split(by_class, starts)
        rounds = self.rounds or max(len(members) for members in self._members)
        self.length = rounds * len(self._members)

    def order(self, seed: int, epoch: int) -> Order:
        return _Rounds(self._members, mix(seed, epoch, ORDER_PLACE))


class _Rounds:
    def __init__(self, members: list[Numbers], key: int) -> None:
        self._members = members
        self._key = key
        self._turns: dict[int, tuple[int, Permutation]] = {}

    def at(self, positions: Numbers) -> Numbers:
        rounds, places = np.divmod(positions, len(self._members))
        found = np.empty(len(positions), dtype=np.int64)
        for this in np.unique(rounds).tolist():
            classes = Permutation(len(self._members), mix(self._key, this, 0))
            own = np.flatnonzero(rounds == this)
            for at, number in zip(own.tolist(), classes.at(places[own]).tolist(), strict=True):
                found[at] = self._member(number, this)
        return found

    def _member(self, number: int, visit: int) -> int:
        """The sample of that class at its visit: shuffled anew each time it has been through."""
        members = self._members[number]
        cycle, place = divmod(visit, len(members))
        known = self._turns.get(number)
        if known is None or known[0] != cycle:
            order = Permutation(len(members), mix(self._key, number, cycle, 1))
            known = self._turns[number] = (cycle, order)
        return int(members[known[1].at(np.array([place]))[0]])
