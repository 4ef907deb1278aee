"""Processes that make batches: for parts that may not run in several threads of one process.

Each worker makes whole batches and leaves their large tensors where they were made, in memory that
both sides see. Workers live on from epoch to epoch. One that is killed or stands still ends the
run within seconds, named together with the files it was at.
"""

from __future__ import annotations

import itertools
import os
import signal
import time
import weakref
from collections import deque
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle
from typing import Any

from cvtrainer.core.errors import RunFailed
from cvtrainer.data.failure import Failure
from cvtrainer.data.pipeline import Made
from cvtrainer.data.sampling import BatchRequest
from cvtrainer.data.stream.blocks import SeenBlocks
from cvtrainer.data.stream.making import WatchedMaker, lost
from cvtrainer.data.stream.options import LoaderOptions
from cvtrainer.data.stream.packing import unpack
from cvtrainer.data.stream.starting import Started, start_workers
from cvtrainer.data.stream.worker import Answer, Task

_GLANCE = 1.0
"""Seconds between two looks at whether somebody is stuck."""


class ProcessCrew:
    """Makes batches in `options.num_workers` processes, `options.ahead` of them in advance."""

    def __init__(self, maker: WatchedMaker, options: LoaderOptions) -> None:
        self._dataset = maker.parts.dataset
        self._options = options
        self._numbers = itertools.count()
        self._made: dict[int, Any] = {}
        self._wanted: set[int] = set()
        crowd = start_workers(maker, options.num_workers, options.multiprocessing_context)
        self.way = crowd.way
        self._workers = [_Worker(number, one) for number, one in enumerate(crowd.workers)]
        self._share = max(2, -(-options.ahead // len(self._workers)))
        self._end = weakref.finalize(self, _end, self._workers)

    def batches(self, requests: Iterator[BatchRequest]) -> Iterator[Made]:
        """The batches of these requests in their order."""
        ahead: deque[int] = deque()
        undealt: deque[tuple[int, BatchRequest]] = deque()
        few = self._workers[: _cores()]

        def fill(workers: list[_Worker]) -> None:
            while len(ahead) < self._options.ahead:
                request = next(requests, None)
                if request is None:
                    break
                number = next(self._numbers)
                ahead.append(number)
                self._wanted.add(number)
                undealt.append((number, request))
            self._deal(undealt, workers)

        try:
            fill(few)
            while ahead:
                number = ahead.popleft()
                while number not in self._made:
                    self._listen()
                    self._deal(undealt, few)
                few = self._workers
                self._wanted.discard(number)
                made = self._made.pop(number)
                if isinstance(made, Failure):
                    raise made.exception()
                fill(few)
                yield made
                del made
        finally:
            self._wanted.difference_update(ahead)
            for number in ahead:
                self._made.pop(number, None)

    def close(self) -> None:
        """End the workers."""
        self._end()

    def _deal(self, undealt: deque[tuple[int, BatchRequest]], workers: list[_Worker]) -> None:
        """Hand batches to whoever has least to do, never more than their share at once."""
        share = self._share if len(workers) == len(self._workers) else 1
        while undealt:
            worker = min(workers, key=lambda one: len(one.tasks))
            if len(worker.tasks) >= share:
                return
            number, request = undealt.popleft()
            try:
                worker.give(number, request)
            except OSError as error:
                raise self._died(worker) from error

    def _listen(self) -> None:
        """Take what has come, or look after the workers."""
        limits = (_GLANCE, self._options.stuck_after / 4)
        by_channel: dict[Any, _Worker] = {one.tasks_channel: one for one in self._workers}
        by_end = {one.process.sentinel: one for one in self._workers}
        began = time.monotonic()
        limit = self._options.timeout
        while not (ready := wait([*by_channel, *by_end], timeout=min(limits))):
            self._look_for_stuck()
            if limit and time.monotonic() - began > limit:
                self.close()
                raise RunFailed(
                    f"no batch for {limit:g} s", todo="Raise timeout, or look at the data."
                )
        heard = [by_channel[one] for one in ready if one in by_channel]
        for worker in heard:
            self._take(worker)
        for one in ready:
            if one in by_end and by_end[one] not in heard:
                raise self._died(by_end[one])

    def _take(self, worker: _Worker) -> None:
        try:
            answer = worker.take()
        except (EOFError, OSError) as error:
            raise self._died(worker) from error
        if answer[0] in self._wanted:
            self._made[answer[0]] = answer[1]

    def _look_for_stuck(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            since = now - max(worker.notes.read().since, worker.given)
            if worker.tasks and since > self._options.stuck_after:
                error = self._lost(worker, f"has been stuck for {since:.0f} s")
                self.close()
                raise error

    def _died(self, worker: _Worker) -> RunFailed:
        worker.process.join(timeout=5.0)
        code = worker.process.exitcode
        how = f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        error = self._lost(worker, how)
        self.close()
        return error

    def _lost(self, worker: _Worker, what: str) -> RunFailed:
        who = f"data worker {worker.number} (process {worker.process.pid})"
        request = next(iter(worker.tasks.values()), None)
        return lost(who, what, worker.notes.read(), request, self._dataset)


class _Worker:
    """A worker as the training process knows it."""

    def __init__(self, number: int, started: Started) -> None:
        self.number = number
        self.process: BaseProcess = started.process
        self.tasks_channel: Connection = started.tasks
        self._handles: Connection = started.handles
        self.notes = started.notes
        self.tasks: dict[int, BatchRequest] = {}
        self.given = time.monotonic()
        self._blocks = SeenBlocks()

    def give(self, number: int, request: BatchRequest) -> None:
        """A batch to make, after those it has."""
        returned = []
        while self._blocks.returned:
            returned.append(self._blocks.returned.popleft())
        if not self.tasks:
            self.given = time.monotonic()
        self.tasks[number] = request
        self.tasks_channel.send(Task(number, request, tuple(returned)))

    def take(self) -> tuple[int, Made | Failure]:
        """A batch that it sends, or why there is none."""
        answer: Answer = self.tasks_channel.recv()
        for block in answer.fresh:
            self._blocks.add(block, recv_handle(self._handles))
        self._blocks.drop(answer.dropped)
        self.tasks.pop(answer.task)
        made: Made | Failure = unpack(answer.message, self._blocks)
        return answer.task, made


def _cores() -> int:
    """How many batches can be made at once; more would only delay the first of an epoch."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _end(workers: list[_Worker]) -> None:
    """Ask all to end, then make them."""
    for worker in workers:
        try:
            worker.tasks_channel.send(None)
        except OSError:
            continue
    patience = time.monotonic() + 1.0
    for worker in workers:
        if not worker.tasks:
            worker.process.join(timeout=max(0.0, patience - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
        worker.tasks_channel.close()
        worker.process.join(timeout=5.0)
        worker.process.close()
