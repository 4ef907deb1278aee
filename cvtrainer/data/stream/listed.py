"""A stream of batches that are ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import Batch


class ListStream:
    """Serves batches that are ready, in their order, every epoch the same."""

    def __init__(
        self, batches: Sequence[Batch], *, batch_size: int | None = None, samples: int | None = None
    ) -> None:
        self.batches = list(batches)
        sizes = [rows_of(batch) for batch in self.batches]
        self.batch_size = batch_size or max(sizes, default=1)
        self._samples = samples if samples is not None else sum(sizes)
        self._rank, self._world_size = 0, 1

    @property
    def samples(self) -> int:
        """Samples per epoch over all ranks."""
        return self._samples

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches from number `start` on; the epoch makes no difference."""
        if self._world_size == 1:
            return iter(self.batches[start:])
        return (self._own_part(batch) for batch in self.batches[start:])

    def finish(self, batch: Batch) -> Batch:
        """Batches are ready."""
        return batch

    def shard(self, rank: int, world_size: int) -> None:
        """Serve only this rank's rows of each batch; each batch needs a row for every rank."""
        smallest = min((rows_of(batch) for batch in self.batches), default=world_size)
        if smallest < world_size:
            raise UserError(
                f"a batch of {smallest} cannot be split over {world_size} processes",
                todo="Give larger batches or fewer processes.",
            )
        self._rank, self._world_size = rank, world_size

    def close(self) -> None:
        """Nothing to end."""

    def _own_part(self, batch: Batch) -> Batch:
        share, rest = divmod(rows_of(batch), self._world_size)
        first = self._rank * share + min(self._rank, rest)
        rows = slice(first, first + share + (1 if self._rank < rest else 0))
        return {name: _rows(value, rows) for name, value in batch.items()}


def rows_of(batch: Batch) -> int:
    """How many samples a batch holds."""
    index = (batch.get("meta") or {}).get("index")
    if index is not None:
        return len(index)
    for value in batch.values():
        if isinstance(value, Tensor) and value.ndim:
            return int(value.shape[0])
        if isinstance(value, Mapping) and (inner := rows_of(dict(value))):
            return inner
    return 0


def _rows(value: Any, rows: slice) -> Any:
    if isinstance(value, Mapping):
        return {name: _rows(inner, rows) for name, inner in value.items()}
    if isinstance(value, list) or (isinstance(value, Tensor) and value.ndim):
        return value[rows]
    return value
