"""How an epoch is cut into batches, and which part of a batch a rank gets.

Nothing here knows what a sample is. A sampler says which sample stands where; the plan turns that
into requests, one per batch, from any batch number on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from cvtrainer.data.sampling.permutation import Numbers
from cvtrainer.data.sampling.sampler import BatchSampler, Order, Sampler


@dataclass(frozen=True)
class BatchRequest:
    """What a batch is made of: sample numbers and their positions in the global order.

    `weight` is this rank's share of the global batch times the number of ranks: 1.0 where the
    batch is even, 0.0 for the filler of a rank without samples. `begin` is the position of the
    global batch's first sample; `batch_indices` are the numbers of all its samples where mixing
    needs them; `of` is how many those are.
    """

    epoch: int
    positions: tuple[int, ...]
    indices: tuple[int, ...]
    weight: float = 1.0
    begin: int = 0
    batch_indices: tuple[int, ...] = ()
    of: int = 0


@dataclass(frozen=True)
class BatchPlan:
    """Cuts each epoch into global batches, and each global batch into the parts of the ranks.

    `fill` is for training, where every rank must take part in every step: a rank without samples
    in a batch gets one or two marked as filler. Without it such a rank has that batch less.
    `mixing` puts the whole global batch into each request.
    """

    sampler: Sampler | BatchSampler
    batch_size: int
    seed: int
    drop_last: bool = False
    fill: bool = False
    mixing: bool = False
    rank: int = 0
    world_size: int = 1

    @property
    def global_batch(self) -> int:
        """Samples per step over all ranks."""
        return self.batch_size * self.world_size

    @property
    def global_batches(self) -> int:
        """Steps per epoch, over all ranks together."""
        if isinstance(self.sampler, BatchSampler):
            return len(self.sampler.sizes(self.global_batch, drop_last=self.drop_last))
        if self.drop_last:
            return self.sampler.length // self.global_batch
        return -(-self.sampler.length // self.global_batch)

    @property
    def samples(self) -> int:
        """Samples per epoch over all ranks."""
        if isinstance(self.sampler, BatchSampler):
            return int(self.sampler.sizes(self.global_batch, drop_last=self.drop_last).sum())
        return self.global_batches * self.global_batch if self.drop_last else self.sampler.length

    def __len__(self) -> int:
        """Batches per epoch of this rank."""
        if self.fill:
            return self.global_batches
        if isinstance(self.sampler, BatchSampler):
            sizes = self.sampler.sizes(self.global_batch, drop_last=self.drop_last)
            return int((sizes > self.rank).sum())
        count = self.global_batches
        return count - 1 if count and not self._part(self._size(count - 1)) else count

    def for_rank(self, rank: int, world_size: int) -> BatchPlan:
        """The same plan as another rank sees it."""
        return replace(self, rank=rank, world_size=world_size)

    def batches_after(self, samples: int) -> int | None:
        """Global batches behind so many samples of the order; None where batches are given."""
        if isinstance(self.sampler, BatchSampler):
            return None
        left = max(0, self.sampler.length - samples)
        return left // self.global_batch if self.drop_last else -(-left // self.global_batch)

    def requests(self, epoch: int, *, start: int = 0, skipped: int = 0) -> Iterator[BatchRequest]:
        """The batches of that epoch from number `start` on, cut from behind `skipped` samples."""
        if isinstance(self.sampler, BatchSampler):
            assert not skipped, "whole batches are ordered here, not samples"
            yield from self._group_requests(self.sampler, epoch, start)
            return
        order = self.sampler.order(self.seed, epoch)
        count = self.batches_after(skipped) if skipped else len(self)
        for number in range(start, count or 0):
            begin = skipped + number * self.global_batch
            size = min(self.global_batch, self.sampler.length - begin)
            yield self._request(epoch, begin, size, _From(order, begin).at)

    def _group_requests(
        self, sampler: BatchSampler, epoch: int, start: int
    ) -> Iterator[BatchRequest]:
        order = sampler.batches(self.seed, epoch, self.global_batch, drop_last=self.drop_last)
        own = 0
        for number in range(self.global_batches):
            if self.fill and number < start:
                continue
            whole = order.batch(number)
            if not self.fill and not self._part(len(whole)):
                continue
            own += 1
            if self.fill or own > start:
                begin = number * self.global_batch
                yield self._request(epoch, begin, len(whole), whole.__getitem__)

    def _request(
        self, epoch: int, begin: int, size: int, numbers: Callable[[Numbers], Numbers]
    ) -> BatchRequest:
        """This rank's part of the global batch of that size."""
        part = self._part(size)
        weight = len(part) * self.world_size / size if self.fill else 1.0
        if not part:
            part = range(min(2, self.batch_size, size))
        places = np.arange(part.start, part.stop, dtype=np.int64)
        whole: tuple[int, ...] = ()
        if self.mixing:
            whole = tuple(numbers(np.arange(size, dtype=np.int64)).tolist())
            indices = whole[part.start : part.stop]
        else:
            indices = tuple(numbers(places).tolist())
        positions = tuple(range(begin + part.start, begin + part.stop))
        return BatchRequest(epoch, positions, indices, weight, begin, whole, size)

    def _size(self, number: int) -> int:
        """Samples in that global batch of a plain order."""
        assert not isinstance(self.sampler, BatchSampler)
        return min(self.global_batch, self.sampler.length - number * self.global_batch)

    def _part(self, size: int) -> range:
        """This rank's places in a global batch: contiguous, sizes differ by one at most.

        While training nobody gets a single sample if it can be helped (BatchNorm needs two): a
        short batch goes to fewer ranks then.
        """
        ranks = self.world_size
        if self.fill and self.batch_size > 1:
            ranks = min(ranks, max(1, size // 2))
        if self.rank >= ranks:
            return range(0)
        share, rest = divmod(size, ranks)
        first = self.rank * share + min(self.rank, rest)
        return range(first, first + share + (1 if self.rank < rest else 0))


class _From(NamedTuple):
    """An order as seen from that position on."""

    order: Order
    begin: int

    def at(self, places: Numbers) -> Numbers:
        return self.order.at(self.begin + places)
