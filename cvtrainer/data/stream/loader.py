"""The stream that makes its batches: from any batch on, the same whoever makes them.

It decides who works (this process, threads, worker processes), says so once, hands what was found
bad to the ledger, and finishes batches on their device.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, Protocol

import torch

from cvtrainer.core.errors import UserError
from cvtrainer.data.bad_samples import BadRecord
from cvtrainer.data.collate import collate
from cvtrainer.data.pipeline import Dataset, Made, Parts
from cvtrainer.data.sampling import (
    BatchPlan,
    BatchRequest,
    BatchSampler,
    Sampler,
    Sequential,
    Shuffled,
)
from cvtrainer.data.stream.making import Crew, WatchedMaker
from cvtrainer.data.stream.options import LoaderOptions
from cvtrainer.data.stream.pinning import pinned
from cvtrainer.data.stream.processes import ProcessCrew
from cvtrainer.data.stream.threads import ThreadCrew
from cvtrainer.protocols import Batch

Mode = Literal["serial", "threads", "processes"]


class BadSamples(Protocol):
    """Where samples that were replaced are told; `quarantine` says which need not be read."""

    quarantine: Any

    def add(self, records: tuple[BadRecord, ...], /) -> None: ...


class LoaderStream:
    """Serves batches made from a data set (implements `protocols.Stream`).

    `training` makes every rank take part in every step: one without samples in a batch gets a
    filler whose `meta.weight` is 0.0. In evaluation such a rank simply has one batch less.
    `device_steps` is what `finish` does to a batch on its device. A sampler decides over the
    order, whatever `shuffle` says.
    """

    def __init__(
        self,
        parts: Parts | Dataset,
        *,
        seed: int = 0,
        options: LoaderOptions | Mapping[str, Any] | None = None,
        training: bool = True,
        sampler: Sampler | BatchSampler | None = None,
        device_steps: Callable[[Batch], Batch] | None = None,
        ledger: BadSamples | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        if not isinstance(options, LoaderOptions):
            options = LoaderOptions.from_mapping(options)
        if not isinstance(parts, Parts):
            parts = Parts(parts)
        self.parts = replace(parts, collate=parts.collate or options.collate_fn or collate)
        self.dataset = parts.dataset
        self.options = options
        self.maker = WatchedMaker(
            self.parts,
            seed=seed,
            known_bad=getattr(ledger, "quarantine", None),
            with_draw_seeds=device_steps is not None,
        )
        length = _length(self.dataset)
        sampler = sampler or (Shuffled() if options.shuffle else Sequential())
        sampler.prepare(self.dataset)
        self.plan = BatchPlan(
            sampler,
            batch_size=options.batch_size,
            seed=seed,
            drop_last=options.drop_last,
            fill=training,
            mixing=bool(parts.mixers),
        )
        if training and not self.plan.global_batches:
            raise UserError(
                f"drop_last leaves nothing of {length} samples in batches of {options.batch_size}",
                where=type(self.dataset).__name__,
                todo="Use a smaller batch_size or drop_last: false.",
            )
        self.mode, self._reason = _mode(self.parts, options)
        self._device_steps = device_steps
        self._ledger = ledger
        self._say = say
        self._crew: Crew | None = None
        self._under_way = 0
        """Epochs that are being served: one may look at another from its middle."""

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

    def epoch(self, epoch: int, *, start: int = 0, skipped: int = 0) -> Iterator[Batch]:
        """The batches of that epoch (1-based) from batch number `start` on.

        Batches are cut and counted from behind the first `skipped` samples of the global order.
        """
        made = self._made(self.plan.requests(epoch, start=start, skipped=skipped))
        if self._pins:
            made = pinned(made)
        try:
            for batch, bad in made:
                if bad and self._ledger is not None:
                    self._ledger.add(bad)
                yield batch
                del batch
        finally:
            made.close()

    def batches_after(self, samples: int) -> int | None:
        """Batches behind so many samples; None where not any samples may share a batch."""
        return self.plan.batches_after(samples)

    def finish(self, batch: Batch) -> Batch:
        """The batch, already on its device, as the networks get it."""
        return batch if self._device_steps is None else self._device_steps(batch)

    def shard(self, rank: int, world_size: int) -> None:
        """Serve only this rank's part of each global batch."""
        if not 0 <= rank < world_size:
            raise ValueError(f"rank {rank} of {world_size}")
        self.plan = self.plan.for_rank(rank, world_size)

    def close(self) -> None:
        """End the workers; the next epoch would start new ones."""
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.close()

    @property
    def _pins(self) -> bool:
        return self.options.pin_memory is not False and torch.cuda.is_available()

    def _made(self, requests: Iterator[BatchRequest]) -> Generator[Made, None, None]:
        if self.mode == "serial":
            yield from map(self.maker.make, requests)
            return
        if self._crew is None:
            self._crew = self._start()
        self._under_way += 1
        try:
            yield from self._crew.batches(requests)
        except Exception:
            self.close()
            raise
        finally:
            self._under_way -= 1
        if not self.options.persistent_workers and not self._under_way:
            self.close()

    def _start(self) -> Crew:
        count = self.options.num_workers
        crew: Crew
        if self.mode == "threads":
            crew = ThreadCrew(self.maker, self.options)
            text = f"{count} threads"
        else:
            started = crew = ProcessCrew(self.maker, self.options)
            text = f"{count} processes ({started.way})"
        if self._say is not None:
            self._say(f"batches are made by {text}; {self._reason}")
            self._say = None
        return crew


def _mode(parts: Parts, options: LoaderOptions) -> tuple[Mode, str]:
    """Who makes the batches, and why."""
    if not options.num_workers:
        return "serial", "num_workers is 0"
    unsafe = _not_for_threads(parts)
    if options.workers == "processes":
        return "processes", "workers: processes"
    if unsafe is None:
        return "threads", "every part may run in several threads"
    if options.workers == "threads":
        raise UserError(
            f"{unsafe}, so it cannot run in threads",
            where="workers: threads",
            todo="Use workers: auto, or say thread_safe = True in that class if it is.",
        )
    return "processes", f"{unsafe}, so no threads"


def _not_for_threads(parts: Parts) -> str | None:
    """The part that keeps batches from being made in threads, in words."""
    if getattr(parts.dataset, "draws_randomly", True):
        return f"{type(parts.dataset).__name__} may draw from the global generators"
    named: list[Any] = [parts.dataset, parts.transforms, parts.tensorizer, *parts.mixers]
    for part in (*named, parts.collate):
        if part is not None and not getattr(part, "thread_safe", False):
            return (
                f"{getattr(part, '__name__', type(part).__name__)} does not say it is thread-safe"
            )
    return None


def _length(dataset: Dataset) -> int:
    length = len(dataset)
    if length < 1:
        raise UserError("the data set holds no samples", where=type(dataset).__name__)
    return length
