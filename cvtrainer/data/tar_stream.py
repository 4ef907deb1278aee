"""Batches of archives that can only be read in order: packed tars, pipes.

What is exact: an epoch's batches are a function of (seed, epoch, rank, number of ranks, archives);
starting in the middle reads what is before and decodes none of it; every sample comes once per
epoch, over all ranks, and its draws do not depend on the rank. What is not: other numbers of ranks
make other batches, because each archive belongs to one rank. A sample that cannot be used is
replaced by the next good one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol

from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.core.seeds import mix
from cvtrainer.data.bad_samples import BadRecord
from cvtrainer.data.collate import collate
from cvtrainer.data.datasets.tar_source import TarSource
from cvtrainer.data.opening import FilePixels, open_record
from cvtrainer.data.randomness import DrawKey
from cvtrainer.data.sample import BadSample, Sample
from cvtrainer.protocols import Batch

_SHARD_PLACE, _BUFFER_PLACE = 1, 2
_NUMBER_BITS = 32
_TRIES = 100


class Ledger(Protocol):
    """Where samples that cannot be used are written down."""

    def add(self, records: tuple[BadRecord, ...], /) -> None: ...


class _Item(NamedTuple):
    position: int
    content: Sample | BadSample


class TarStream:
    """Serves batches of a `TarSource` (implements `protocols.Stream`), made in this process.

    With a `shuffle_buffer` the order of the archives is drawn anew each epoch, and each sample is
    drawn from that many waiting ones, which stay encoded. Archives are dealt to ranks by their
    number of samples, the same in all epochs. In training a rank without samples in a step gets a
    filler whose `meta.weight` is 0.0.
    """

    def __init__(
        self,
        source: TarSource,
        *,
        batch_size: int,
        seed: int = 0,
        shuffle_buffer: int = 0,
        transforms: Callable[[Sample, DrawKey], Sample] | None = None,
        tensorizer: Callable[[Sample], Sample] | None = None,
        training: bool = True,
        ledger: Ledger | None = None,
    ) -> None:
        if batch_size < 1 or shuffle_buffer < 0:
            raise UserError(
                f"batch_size is {batch_size}, shuffle_buffer {shuffle_buffer}",
                todo="Use 1 or more, and 0 or more.",
            )
        self.source = source
        self.batch_size = batch_size
        self._seed = seed
        self._buffer = shuffle_buffer
        self._transforms = transforms
        self._tensorizer = tensorizer
        self._training = training
        self._ledger = ledger
        self._rank, self._world_size = 0, 1
        self._pixels = FilePixels()

    @property
    def samples(self) -> int:
        """Samples per epoch over all ranks."""
        return sum(self.source.counts)

    def __len__(self) -> int:
        most = self._sizes()
        return -(-(max(most) if self._training else most[self._rank]) // self.batch_size)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of that epoch (1-based) from batch number `start` on."""
        items = self._items(epoch)
        ahead: deque[_Item] = deque()
        for _ in islice(items, start * self.batch_size):
            pass
        filler: Batch | None = None
        for number in range(start, len(self)):
            size, of = self._size_and_whole(number)
            if size:
                batch = self._batch(items, ahead, size, epoch)
            else:
                batch = filler = filler or self._filler(epoch)
            if self._training and self._world_size > 1:
                batch = {
                    **batch,
                    "meta": {**batch["meta"], "weight": size * self._world_size / of, "of": of},
                }
            yield batch

    def finish(self, batch: Batch) -> Batch:
        """Batches are ready."""
        return batch

    def shard(self, rank: int, world_size: int) -> None:
        """Serve only the archives of this rank."""
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size}")
        if world_size > len(self.source.shards):
            raise UserError(
                f"{len(self.source.shards)} archives cannot be split over {world_size} processes",
                where=self.source.shards[0],
                todo="Write smaller archives.",
            )
        self._rank, self._world_size = rank, world_size

    def close(self) -> None:
        """Nothing is held open between epochs."""

    def shards_of(self, rank: int) -> list[int]:
        """The archives of a rank: the largest first, each to whoever has the least."""
        counts = self.source.counts
        own: list[list[int]] = [[] for _ in range(self._world_size)]
        totals = [(0, 0)] * self._world_size
        for shard in sorted(range(len(counts)), key=lambda number: -counts[number]):
            least = totals.index(min(totals))
            own[least].append(shard)
            totals[least] = totals[least][0] + counts[shard], totals[least][1] + 1
        return sorted(own[rank])

    def _sizes(self) -> list[int]:
        counts = self.source.counts
        ranks = range(self._world_size)
        return [sum(counts[shard] for shard in self.shards_of(rank)) for rank in ranks]

    def _size_and_whole(self, number: int) -> tuple[int, int]:
        """How many samples this rank has in that step, and how many all ranks have."""
        before = number * self.batch_size
        sizes = [min(max(size - before, 0), self.batch_size) for size in self._sizes()]
        return sizes[self._rank], sum(sizes)

    def _items(self, epoch: int) -> Iterator[_Item]:
        shards = self.shards_of(self._rank)
        if self._buffer:
            shards.sort(key=lambda shard: mix(self._seed, epoch, _SHARD_PLACE, shard))
        items = (
            _Item(shard << _NUMBER_BITS | number, content)
            for shard in shards
            for number, content in enumerate(self.source.read(shard))
        )
        if self._buffer < 2:
            return items
        return _drawn(items, self._buffer, mix(self._seed, epoch, _BUFFER_PLACE, self._rank))

    def _batch(self, items: Iterator[_Item], ahead: deque[_Item], size: int, epoch: int) -> Batch:
        samples: list[Sample] = []
        bad: list[BadRecord] = []
        for _ in range(size):
            item = ahead.popleft() if ahead else next(items)
            key = DrawKey(self._seed, epoch, item.position)
            sample = self._made(item.content, key, bad)
            tried = 0
            while sample is None and tried < _TRIES:
                if len(ahead) <= tried:
                    more = next(items, None)
                    if more is None:
                        break
                    ahead.append(more)
                sample = self._made(ahead[tried].content, key, [])
                tried += 1
            if sample is None and samples:
                sample = samples[-1]
            if sample is None:
                raise RunFailed(f"no usable sample found: {bad[-1].reason}", where=bad[-1].file)
            samples.append(sample)
        if bad and self._ledger is not None:
            self._ledger.add(tuple(bad))
        batch: Batch = collate(samples)
        return batch

    def _filler(self, epoch: int) -> Batch:
        """The first samples again: two, because some layers need more than one."""
        size = min(2, self.batch_size, self._sizes()[self._rank])
        return self._batch(self._items(epoch), deque(), size, epoch)

    def _made(
        self, content: Sample | BadSample, key: DrawKey, bad: list[BadRecord]
    ) -> Sample | None:
        try:
            if isinstance(content, BadSample):
                raise content
            sample = open_record(content, self._pixels)
            if self._transforms is not None:
                sample = self._transforms(sample, key)
            return sample if self._tensorizer is None else self._tensorizer(sample)
        except BadSample as error:
            file = error.where or self.source.shards[0]
            index = -1 if isinstance(content, BadSample) else int(content["meta"]["index"])
            bad.append(BadRecord(index=index, file=file, kind=error.kind, reason=error.what))
            return None


def _drawn(items: Iterator[_Item], size: int, key: int) -> Iterator[_Item]:
    """The same items, each drawn from `size` waiting ones."""
    waiting: list[_Item] = []
    drawn = 0
    for item in items:
        if len(waiting) < size:
            waiting.append(item)
            continue
        place = mix(key, drawn) % size
        drawn += 1
        yield waiting[place]
        waiting[place] = item
    while waiting:
        place = mix(key, drawn) % len(waiting)
        drawn += 1
        waiting[place], waiting[-1] = waiting[-1], waiting[place]
        yield waiting.pop()
