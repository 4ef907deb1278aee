"""Streams: the batches of an epoch, from any batch on, the same for any number of workers.

`LoaderStream` makes them from a data set, in this process or in worker processes that live on
from epoch to epoch. `ListStream` serves batches that are ready.
"""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from cvtrainer.core.errors import UserError
from cvtrainer.data.collate import collate
from cvtrainer.data.failure import Failure
from cvtrainer.data.pipeline import (
    BatchMaker,
    CollateSamples,
    Dataset,
    FieldsToTensors,
    Parts,
    Transform,
)
from cvtrainer.data.sampling import BatchPlan, BatchRequest, Sequential, Shuffled
from cvtrainer.protocols import Batch


@dataclass(frozen=True)
class LoaderOptions:
    """The words of `dataloader_args`; they mean what they mean for torch's DataLoader."""

    batch_size: int = 1
    num_workers: int = 0
    shuffle: bool = False
    drop_last: bool = False
    pin_memory: bool = False
    prefetch_factor: int | None = None
    collate_fn: CollateSamples | None = None
    persistent_workers: bool = True
    multiprocessing_context: str | None = None
    timeout: float = 0.0

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UserError(f"batch_size is {self.batch_size}", todo="Use 1 or more.")
        if self.num_workers < 0:
            raise UserError(f"num_workers is {self.num_workers}", todo="Use 0 or more.")
        if self.prefetch_factor is not None and self.prefetch_factor < 1:
            raise UserError(f"prefetch_factor is {self.prefetch_factor}", todo="Use 1 or more.")
        if self.collate_fn is not None and not callable(self.collate_fn):
            raise UserError(f"collate_fn is {self.collate_fn!r}, which cannot be called")

    @classmethod
    def from_mapping(cls, words: Mapping[str, Any] | None) -> LoaderOptions:
        """From a config's `dataloader_args`; an unknown word is an error."""
        known = [field.name for field in dataclasses.fields(cls)]
        for word in words or {}:
            if word not in known:
                near = get_close_matches(word, known, n=1)
                todo = f"Did you mean {near[0]}?" if near else f"Known are {', '.join(known)}."
                raise UserError(f"dataloader_args has no {word}", todo=todo)
        return cls(**(words or {}))


class LoaderStream:
    """Serves batches made from a data set (implements `protocols.Stream`).

    `training` makes every rank take part in every step: one without samples in the last batch gets
    a filler whose `meta.weight` is 0.0. In evaluation such a rank simply has one batch less.
    """

    def __init__(
        self,
        dataset: Dataset,
        transforms: Transform | None = None,
        tensorizer: FieldsToTensors | None = None,
        *,
        seed: int = 0,
        options: LoaderOptions | Mapping[str, Any] | None = None,
        training: bool = True,
    ) -> None:
        if not isinstance(options, LoaderOptions):
            options = LoaderOptions.from_mapping(options)
        self.dataset = dataset
        self.options = options
        self.maker = BatchMaker(
            Parts(
                dataset,
                transforms=transforms,
                tensorizer=tensorizer,
                collate=options.collate_fn or collate,
            ),
            seed=seed,
        )
        length = _length(dataset)
        sampler = Shuffled() if options.shuffle else Sequential()
        sampler.prepare(dataset)
        self.plan = BatchPlan(
            sampler,
            batch_size=options.batch_size,
            seed=seed,
            drop_last=options.drop_last,
            fill=training,
        )
        if training and not self.plan.global_batches:
            raise UserError(
                f"drop_last leaves nothing of {length} samples in batches of {options.batch_size}",
                where=type(dataset).__name__,
                todo="Use a smaller batch_size or drop_last: false.",
            )
        self._requests = _RequestQueue()
        self._loader: DataLoader[Any] | None = None

    @property
    def batch_size(self) -> int:
        """Samples per batch of one process."""
        return self.plan.batch_size

    @property
    def samples(self) -> int:
        """Samples per epoch over all ranks."""
        return self.plan.samples

    def __len__(self) -> int:
        return len(self.plan)

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of that epoch (1-based) from batch number `start` on."""
        requests = self.plan.requests(epoch, start=start)
        if self.options.num_workers == 0:
            return (self.maker.make(request).batch for request in requests)
        return self._from_workers(requests)

    def finish(self, batch: Batch) -> Batch:
        """Batches are ready."""
        return batch

    def shard(self, rank: int, world_size: int) -> None:
        """Serve only this rank's part of each global batch."""
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size}")
        self.plan = self.plan.for_rank(rank, world_size)

    def close(self) -> None:
        """End the worker processes; the next epoch would start new ones."""
        loader, self._loader = self._loader, None
        iterator = getattr(loader, "_iterator", None)
        if iterator is not None:
            iterator._shutdown_workers()

    def _from_workers(self, requests: Iterator[BatchRequest]) -> Iterator[Batch]:
        self._requests.pending = requests
        if self._loader is None:
            self._loader = self._start_workers()
        for batch in self._loader:
            if isinstance(batch, Failure):
                raise batch.exception()
            yield batch

    def _start_workers(self) -> DataLoader[Any]:
        options = self.options
        return DataLoader(
            _Answers(self.maker),  # type: ignore[arg-type]
            batch_sampler=self._requests,  # type: ignore[arg-type]
            collate_fn=_unchanged,
            num_workers=options.num_workers,
            pin_memory=options.pin_memory and torch.cuda.is_available(),
            prefetch_factor=options.prefetch_factor or 2,
            persistent_workers=options.persistent_workers,
            multiprocessing_context=options.multiprocessing_context,
            timeout=options.timeout,
            worker_init_fn=_start_worker,
            generator=torch.Generator(),
        )


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


class _Answers:
    """What a worker process holds: answers each request with the batch or the failure."""

    def __init__(self, maker: BatchMaker) -> None:
        self.maker = maker

    def __getitems__(self, request: BatchRequest) -> Any:
        try:
            return self.maker.make(request).batch
        except Exception as error:
            return Failure.of(error)


class _RequestQueue:
    """The batch sampler of the one DataLoader: hands out whatever epoch is asked for next."""

    def __init__(self) -> None:
        self.pending: Iterator[BatchRequest] = iter(())

    def __iter__(self) -> Iterator[BatchRequest]:
        return self.pending


def _rows(value: Any, rows: slice) -> Any:
    if isinstance(value, Mapping):
        return {name: _rows(inner, rows) for name, inner in value.items()}
    if isinstance(value, list) or (isinstance(value, Tensor) and value.ndim):
        return value[rows]
    return value


def _length(dataset: Dataset) -> int:
    length = len(dataset)
    if length < 1:
        raise UserError("the data set holds no samples", where=type(dataset).__name__)
    return length


def _unchanged(batch: Any) -> Any:
    return batch


def _start_worker(worker: int) -> None:
    """One numeric thread, as workers share the cores; Ctrl-C is for the process that trains."""
    import cv2

    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
