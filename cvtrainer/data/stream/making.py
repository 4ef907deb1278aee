"""Making batches where somebody watches: which sample is in the making, and since when.

A worker that is killed or never comes back cannot say what it was doing; what it noted before can.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from cvtrainer.core.errors import RunFailed
from cvtrainer.data.bad_samples import BadRecord
from cvtrainer.data.pipeline import BatchMaker, Made
from cvtrainer.data.sample import Sample
from cvtrainer.data.sampling import BatchRequest

NOBODY = -1
"""In place of a sample's number: at no certain sample (loading parts, collating)."""

_NAMED = 4
"""So many files of a batch are named; the rest is counted."""


class Crew(Protocol):
    """Those who make batches ahead of their use."""

    def batches(self, requests: Iterator[BatchRequest]) -> Iterator[Made]:
        """The batches of these requests in their order; it may be left early."""
        ...

    def close(self) -> None:
        """End everybody; no further batches can be had."""
        ...


class Work(NamedTuple):
    """What somebody is at: a sample's number, and since when on the clock of the machine."""

    sample: int
    since: float

    @staticmethod
    def now(sample: int) -> Work:
        return Work(sample, time.monotonic())


class WatchedMaker(BatchMaker):
    """Tells `on_sample` the number of each sample before it is made."""

    on_sample: Callable[[int], None] | None = None

    def sample(self, index: int, epoch: int, position: int, bad: list[BadRecord]) -> Sample:
        if self.on_sample is not None:
            self.on_sample(index)
        return super().sample(index, epoch, position, bad)

    def join(
        self, samples: Sequence[Sample], request: BatchRequest, bad: Sequence[BadRecord]
    ) -> Made:
        if self.on_sample is not None:
            self.on_sample(NOBODY)
        return super().join(samples, request, bad)


def file_of(dataset: Any, number: int) -> str:
    """How messages name a sample that nobody could open: its file where that costs nothing."""
    name = f"{type(dataset).__name__}[{number}]"
    file = getattr(dataset, "file", None)
    if file is None:
        return name
    try:
        return str(file(number))
    except Exception:
        return name


def lost(who: str, what: str, work: Work, request: BatchRequest | None, dataset: Any) -> RunFailed:
    """The error for a worker that will not deliver: who, what happened, at which files."""
    doing = "making a batch" if request is not None else "waiting for work"
    where = None
    if request is not None and work.sample != NOBODY:
        where = file_of(dataset, work.sample)
        doing = f"making sample {work.sample}"
    files = [file_of(dataset, index) for index in (request.indices if request else ())]
    batch = ", ".join(files[:_NAMED])
    if len(files) > _NAMED:
        batch += f" and {len(files) - _NAMED} more"
    return RunFailed(
        f"{who} {what} while {doing}" + (f" (of a batch of {batch})" if batch else ""),
        where=where,
        todo="Look at these files and at the machine's memory; num_workers: 0 shows more.",
    )
