"""Streams that serve less than they could: the first batches of each epoch, or always the same.

Both look like any stream, so that the loop, its hooks and its meters notice nothing. For trying a
run out: what is slow about an epoch is its length.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import islice

from cvtrainer.protocols import Batch, Stream


class FewBatches:
    """The first `count` batches of every epoch (implements `protocols.Stream`)."""

    def __init__(self, stream: Stream, count: int) -> None:
        self._stream = stream
        self._count = count

    @property
    def batch_size(self) -> int:
        """Samples per batch of one process."""
        return self._stream.batch_size

    @property
    def samples(self) -> int:
        """Samples per epoch over all ranks, at most."""
        return min(self._stream.samples, self._count * self._stream.batch_size)

    def __len__(self) -> int:
        return min(len(self._stream), self._count)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of that epoch (1-based) from batch number `start` on."""
        batches = self._stream.epoch(epoch, start=start)
        try:
            yield from islice(batches, max(len(self) - start, 0))
        finally:
            _close(batches)

    def finish(self, batch: Batch) -> Batch:
        """The batch, already on its device, as the networks get it."""
        return self._stream.finish(batch)

    def shard(self, rank: int, world_size: int) -> None:
        """Serve only this rank's part of each global batch."""
        self._stream.shard(rank, world_size)

    def close(self) -> None:
        self._stream.close()


class SameBatches(FewBatches):
    """The first `count` batches of the first epoch, over and over, `length` of them an epoch.

    They are made once and kept; whoever changes a batch changes a copy.
    """

    def __init__(self, stream: Stream, count: int, *, length: int | None = None) -> None:
        super().__init__(stream, count)
        self._length = length
        self._kept: list[Batch] = []

    @property
    def samples(self) -> int:
        """Samples that are served at all, each many times."""
        return min(self._stream.samples, self._count * self._stream.batch_size)

    def __len__(self) -> int:
        return super().__len__() if self._length is None else self._length

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The same batches for any epoch, in the same order."""
        if not self._kept:
            batches = self._stream.epoch(1)
            self._kept = list(islice(batches, self._count))
            _close(batches)
        for place in range(start, len(self)):
            yield copy.deepcopy(self._kept[place % len(self._kept)])


def _close(batches: Iterator[Batch]) -> None:
    """End a stream's epoch now rather than when the memory is next tidied up."""
    close = getattr(batches, "close", None)
    if close is not None:
        close()
