"""Threads that make batches: for parts that may run in several threads at once.

The samples of one batch are spread over all threads, so that the first batch of an epoch is there
as early as can be; whoever makes the last one collates. Threads live on from epoch to epoch.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import torch

from cvtrainer.core.errors import RunFailed
from cvtrainer.data.bad_samples import BadRecord
from cvtrainer.data.batch_memory import BatchRows, tensors_from
from cvtrainer.data.pipeline import Made
from cvtrainer.data.sample import Sample
from cvtrainer.data.sampling import BatchRequest
from cvtrainer.data.stream.making import NOBODY, WatchedMaker, Work, lost
from cvtrainer.data.stream.options import LoaderOptions
from cvtrainer.data.stream.recycled import RecycledMemory

_GLANCE = 1.0
"""Seconds between two looks at whether somebody is stuck."""

_PARTS = 4
"""A batch is cut into so many pieces per thread."""


_WorkOf = dict[int, tuple[Work, BatchRequest | None]]
"""What each thread is at."""


class ThreadCrew:
    """Makes batches in `options.num_workers` threads, `options.ahead` of them in advance."""

    def __init__(self, maker: WatchedMaker, options: LoaderOptions) -> None:
        self._maker = maker
        self._options = options
        self._pieces: SimpleQueue[_Piece | None] = SimpleQueue()
        self._work: _WorkOf = {}
        maker.on_sample = _noting(self._work)
        self._threads = self._start()
        self._end = weakref.finalize(self, _end, self._pieces, self._threads)

    def batches(self, requests: Iterator[BatchRequest]) -> Iterator[Made]:
        """The batches of these requests in their order."""
        ahead: deque[_Job] = deque()

        def fill() -> None:
            while len(ahead) < self._options.ahead:
                request = next(requests, None)
                if request is None:
                    return
                ahead.append(self._begin(request))

        try:
            fill()
            while ahead:
                job = ahead.popleft()
                fill()
                self._await(job)
                yield job.result()
        finally:
            for job in ahead:
                job.cancelled = True

    def close(self) -> None:
        """End the threads; one that is stuck is left behind."""
        self._end()

    def _start(self) -> list[threading.Thread]:
        """Each thread computes alone: as many as there are share the cores already.

        Torch keeps the count per thread, but new ones and its matrix library take it from the
        last call; so the calling thread puts its own back.
        """
        before = torch.get_num_threads()
        memory = RecycledMemory()
        ready = threading.Barrier(self._options.num_workers + 1)
        threads = [
            threading.Thread(
                target=_work,
                args=(self._maker, self._pieces, memory, self._work, ready),
                name=f"data-{number}",
                daemon=True,
            )
            for number in range(self._options.num_workers)
        ]
        for thread in threads:
            thread.start()
        ready.wait()
        torch.set_num_threads(before)
        return threads

    def _begin(self, request: BatchRequest) -> _Job:
        """Hand the pieces of a batch out; mixed batches are made in one piece."""
        count = len(request.indices)
        job = _Job(request, 1 if self._maker.levels else count)
        if self._maker.levels:
            self._pieces.put(_Piece(job, None))
            return job
        size = max(1, -(-count // (_PARTS * len(self._threads))))
        for first in range(0, count, size):
            self._pieces.put(_Piece(job, range(first, min(first + size, count))))
        return job

    def _await(self, job: _Job) -> None:
        waited = time.monotonic()
        while not job.done.wait(_glance(self._options)):
            for thread, (work, request) in list(self._work.items()):
                if (
                    request is not None
                    and time.monotonic() - work.since > self._options.stuck_after
                ):
                    raise self._stuck(thread, work, request)
            limit = self._options.timeout
            if limit and time.monotonic() - waited > limit:
                raise RunFailed(
                    f"no batch for {limit:g} s", todo="Raise timeout, or look at the data."
                )

    def _stuck(self, thread: int, work: Work, request: BatchRequest) -> RunFailed:
        names = {one.ident: one.name for one in self._threads}
        what = f"has been stuck for {time.monotonic() - work.since:.0f} s"
        who = f"data thread {names.get(thread, thread)}"
        return lost(who, what, work, request, self._maker.parts.dataset)


class _Job:
    """A batch in the making."""

    def __init__(self, request: BatchRequest, count: int) -> None:
        self.request = request
        self.samples: list[Sample | None] = [None] * count
        self.rows = BatchRows(count)
        self.bad: list[list[BadRecord]] = [[] for _ in range(count)]
        self.errors: dict[int, BaseException] = {}
        self.left = count
        self.lock = threading.Lock()
        self.done = threading.Event()
        self.made: Made | None = None
        self.cancelled = False

    def result(self) -> Made:
        """The batch, or the exception that making it one after the other would have raised."""
        if self.errors:
            raise self.errors[min(self.errors)]
        assert self.made is not None
        return self.made


class _Piece:
    """Some samples of a batch; no places: the batch as a whole."""

    def __init__(self, job: _Job, places: range | None) -> None:
        self.job = job
        self.places = places

    def make(self, maker: WatchedMaker, memory: RecycledMemory) -> None:
        job = self.job
        if job.cancelled:
            return
        count = 1 if self.places is None else len(self.places)
        place = 0
        try:
            with tensors_from(memory.empty):
                if self.places is None:
                    job.made = maker.make(job.request)
                for place in self.places or ():
                    with job.rows.making(place):
                        job.samples[place] = maker.sample(
                            job.request.indices[place],
                            job.request.epoch,
                            job.request.positions[place],
                            job.bad[place],
                        )
        except BaseException as error:
            job.errors[place] = error
        with job.lock:
            job.left -= count
            last = not job.left
        if last:
            self._complete(maker, memory)

    def _complete(self, maker: WatchedMaker, memory: RecycledMemory) -> None:
        job = self.job
        try:
            if job.made is None and not job.errors:
                samples = [sample for sample in job.samples if sample is not None]
                bad = [record for records in job.bad for record in records]
                with tensors_from(memory.empty), job.rows.joining():
                    job.made = maker.join(samples, job.request, bad)
        except BaseException as error:
            job.errors[0] = error
        job.samples.clear()
        job.done.set()


def _glance(options: LoaderOptions) -> float:
    limits = (_GLANCE, options.stuck_after / 4, options.timeout / 4 if options.timeout else _GLANCE)
    return min(limits)


def _noting(work: _WorkOf) -> Callable[[int], None]:
    def note(sample: int) -> None:
        own = threading.get_ident()
        work[own] = Work.now(sample), work[own][1]

    return note


def _work(
    maker: WatchedMaker,
    pieces: SimpleQueue[_Piece | None],
    memory: RecycledMemory,
    work: _WorkOf,
    ready: threading.Barrier,
) -> None:
    torch.get_num_threads()  # otherwise the first operation would take the count of others
    torch.set_num_threads(1)
    ready.wait()
    own = threading.get_ident()
    while (piece := pieces.get()) is not None:
        request = piece.job.request
        work[own] = Work.now(NOBODY), request
        piece.make(maker, memory)
        work[own] = Work.now(NOBODY), None
        del piece


def _end(pieces: SimpleQueue[_Piece | None], threads: list[threading.Thread]) -> None:
    for _ in threads:
        pieces.put(None)
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(timeout=2.0)
