"""Lets the loop run over any plain iterable of batches (a list, a torch DataLoader).

A tuple `(x, y)` becomes the fields `input` and `target`. Starting in the middle of an epoch skips
batches, because a plain iterable cannot seek; the data room's own stream does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from itertools import islice
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import Batch


class IterableStream:
    """A `Stream` over something that is iterated anew each epoch."""

    def __init__(self, batches: Iterable[Any], *, batch_size: int = 0) -> None:
        if not isinstance(batches, Sized):
            raise UserError("dataloader: it has no length, so an epoch would have no end")
        self._batches = batches
        self._length = len(batches)
        self.batch_size = batch_size or int(getattr(batches, "batch_size", None) or 0)

    def __len__(self) -> int:
        return self._length

    @property
    def samples(self) -> int:
        dataset = getattr(self._batches, "dataset", None)
        return len(dataset) if dataset is not None else self._length * self.batch_size

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        set_epoch = getattr(getattr(self._batches, "sampler", None), "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch)
        for batch in islice(iter(self._batches), start, None):
            yield as_batch(batch)

    def finish(self, batch: Batch) -> Batch:
        return batch

    def shard(self, rank: int, world_size: int) -> None:
        if world_size > 1:
            raise UserError(
                "dataloader: a plain iterable cannot be split over processes; use a data stream"
            )

    def close(self) -> None:
        """Nothing is held open."""


def as_batch(value: Any) -> Batch:
    """Name the fields of whatever a loader gives."""
    if isinstance(value, dict):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return {"input": value[0], "target": value[1]}
    raise UserError(
        f"dataloader: a batch is a {type(value).__name__}; give a mapping or a pair (input, target)"
    )
