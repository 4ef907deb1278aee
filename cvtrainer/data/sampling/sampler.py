"""What a sampler is: it says which sample stands at which position of an epoch.

An order is a pure function of (seed, epoch): nothing is drawn, nothing is replayed, and any
position can be asked for.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Protocol, runtime_checkable

from cvtrainer.core.seeds import mix
from cvtrainer.data.sampling.permutation import Numbers, Permutation

ORDER_PLACE = 0x0DE2


class Order(Protocol):
    """The order of one epoch."""

    def at(self, positions: Numbers) -> Numbers:
        """The numbers of the samples at those positions."""
        ...


class Sampler(Protocol):
    """Orders the samples of a data set, each epoch anew."""

    @property
    def length(self) -> int:
        """Positions per epoch."""
        ...

    def prepare(self, dataset: Sized) -> None:
        """Take from the data set what the order depends on; called once."""
        ...

    def order(self, seed: int, epoch: int) -> Order:
        """The order of that epoch."""
        ...


class BatchOrder(Protocol):
    """The order of one epoch whose batches belong together inside."""

    def batch(self, number: int) -> Numbers:
        """The samples of that global batch."""
        ...


@runtime_checkable
class BatchSampler(Protocol):
    """Orders whole batches, because not any samples may share one.

    The last global batch of each group may be short; `drop_last` leaves those out.
    """

    def prepare(self, dataset: Sized) -> None:
        """Take from the data set what the batches depend on; called once."""
        ...

    def sizes(self, global_batch: int, *, drop_last: bool) -> Numbers:
        """The sizes of an epoch's global batches, in no certain order; the same each epoch."""
        ...

    def batches(self, seed: int, epoch: int, global_batch: int, *, drop_last: bool) -> BatchOrder:
        """The batches of that epoch."""
        ...


class Sequential:
    """The samples as they are numbered, every epoch the same."""

    def __init__(self) -> None:
        self.length = 0

    def prepare(self, dataset: Sized) -> None:
        self.length = len(dataset)

    def order(self, seed: int, epoch: int) -> Order:
        return _AsNumbered()


class Shuffled:
    """Each sample once, in another order each epoch."""

    def __init__(self) -> None:
        self.length = 0

    def prepare(self, dataset: Sized) -> None:
        self.length = len(dataset)

    def order(self, seed: int, epoch: int) -> Order:
        return Permutation(self.length, mix(seed, epoch, ORDER_PLACE))


class _AsNumbered:
    def at(self, positions: Numbers) -> Numbers:
        return positions
