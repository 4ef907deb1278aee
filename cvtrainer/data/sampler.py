"""Which sample stands where in an epoch, and which part of a batch a rank gets.

The order is a pure function of (seed, epoch): nothing is drawn, nothing is replayed, and any
position can be asked for. Small sets are ordered by the hash of their numbers; large ones by a
keyed Feistel network, which needs no table and so opens at any position at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.seeds import mix

Numbers = NDArray[np.int64]

_TABLE_LIMIT = 1 << 17
_ROUNDS = 6
_ORDER_PLACE = 0x0DE2


class EpochOrder:
    """The order of one epoch; `at(positions)` gives sample numbers."""

    def __init__(self, length: int, *, seed: int, epoch: int, shuffle: bool) -> None:
        self.length = length
        self.shuffle = shuffle
        self._key = mix(seed, epoch, _ORDER_PLACE)
        self._table: Numbers | None = None
        if shuffle and length <= _TABLE_LIMIT:
            numbers = np.arange(length, dtype=np.uint64)
            self._table = np.argsort(_hash(numbers, self._key), kind="stable").astype(np.int64)

    def at(self, positions: Numbers) -> Numbers:
        """The numbers of the samples at those positions."""
        if not self.shuffle:
            return positions
        if self._table is not None:
            return self._table[positions]
        return self._walk(positions)

    def _walk(self, positions: Numbers) -> Numbers:
        """A bijection on the next power of four, repeated until it lands inside the length."""
        half = np.uint64((max(self.length - 1, 1).bit_length() + 1) // 2)
        values = positions.astype(np.uint64)
        outside = np.ones(len(values), dtype=bool)
        while outside.any():
            values[outside] = self._scramble(values[outside], half)
            outside = values >= np.uint64(self.length)
        return values.astype(np.int64)

    def _scramble(self, values: NDArray[np.uint64], half: np.uint64) -> NDArray[np.uint64]:
        mask = (np.uint64(1) << half) - np.uint64(1)
        left, right = values >> half, values & mask
        for turn in range(_ROUNDS):
            left, right = right, left ^ (_hash(right, mix(self._key, turn)) & mask)
        return (left << half) | right


@dataclass(frozen=True)
class BatchRequest:
    """What a batch is made of: sample numbers and their positions in the global order.

    `weight` is this rank's share of the global batch times the number of ranks: 1.0 where the
    batch is even, 0.0 for the filler of a rank without samples.
    """

    epoch: int
    positions: tuple[int, ...]
    indices: tuple[int, ...]
    weight: float = 1.0
    begin: int = 0
    batch_indices: tuple[int, ...] = ()


@dataclass(frozen=True)
class BatchPlan:
    """Cuts each epoch into global batches, and each global batch into the parts of the ranks.

    `fill` is for training, where every rank must take part in every step: a rank without samples
    in the last batch gets one sample marked as filler. Without it such a rank simply ends earlier.
    """

    length: int
    batch_size: int
    seed: int
    shuffle: bool = False
    drop_last: bool = False
    fill: bool = False
    rank: int = 0
    world_size: int = 1

    @property
    def global_batch(self) -> int:
        """Samples per step over all ranks."""
        return self.batch_size * self.world_size

    @property
    def global_batches(self) -> int:
        """Steps per epoch, over all ranks together."""
        if self.drop_last:
            return self.length // self.global_batch
        return -(-self.length // self.global_batch)

    @property
    def samples(self) -> int:
        """Samples per epoch over all ranks."""
        return self.global_batches * self.global_batch if self.drop_last else self.length

    def __len__(self) -> int:
        """Batches per epoch of this rank."""
        count = self.global_batches
        if count and not self.fill and not self._part(count - 1):
            return count - 1
        return count

    def for_rank(self, rank: int, world_size: int) -> BatchPlan:
        """The same plan as another rank sees it."""
        return replace(self, rank=rank, world_size=world_size)

    def requests(self, epoch: int, *, start: int = 0) -> Iterator[BatchRequest]:
        """The batches of that epoch from number `start` on."""
        order = EpochOrder(self.length, seed=self.seed, epoch=epoch, shuffle=self.shuffle)
        for number in range(start, len(self)):
            part = self._part(number)
            weight = self._weight(number) if self.fill else 1.0
            if not part:
                part = self._filler(number)
            positions = np.arange(part.start, part.stop, dtype=np.int64)
            indices = order.at(positions)
            yield BatchRequest(epoch, tuple(part), tuple(indices.tolist()), weight)

    def _filler(self, number: int) -> range:
        """Up to two samples of the global batch, for a rank that has none of its own."""
        begin = number * self.global_batch
        return range(begin, min(begin + min(2, self.batch_size), self.length))

    def _weight(self, number: int) -> float:
        """How much this rank's mean gradient counts among the ranks' in that global batch."""
        size = min(self.global_batch, self.length - number * self.global_batch)
        return len(self._part(number)) * self.world_size / size

    def _part(self, number: int) -> range:
        """This rank's positions in that global batch: contiguous, sizes differ by one at most.

        While training nobody gets a single sample if it can be helped (BatchNorm needs two): a
        short last batch goes to fewer ranks then.
        """
        begin = number * self.global_batch
        size = min(self.global_batch, self.length - begin)
        ranks = self.world_size
        if self.fill and self.batch_size > 1:
            ranks = min(ranks, max(1, size // 2))
        if self.rank >= ranks:
            return range(begin + size, begin + size)
        share, rest = divmod(size, ranks)
        first = begin + self.rank * share + min(self.rank, rest)
        return range(first, first + share + (1 if self.rank < rest else 0))


def _hash(values: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Splitmix64 over an array; a bijection for a fixed key, so no two numbers tie."""
    state = values * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
