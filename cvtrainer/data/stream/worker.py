"""The process that makes batches: takes requests, sends batches, and ends with who started it.

It notes in shared memory which sample it is at, so that its end or its standing still can be told
together with the file.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import struct
import threading
import time
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from queue import SimpleQueue
from typing import Any, NamedTuple

from cvtrainer.data.batch_memory import tensors_from
from cvtrainer.data.failure import Failure
from cvtrainer.data.sampling import BatchRequest
from cvtrainer.data.stream.blocks import Announced, OwnBlocks, nameless_file
from cvtrainer.data.stream.making import NOBODY, WatchedMaker, Work
from cvtrainer.data.stream.packing import pack

_NOTE = struct.Struct("<qd")
_ALIVE_EVERY = 0.5


class Task(NamedTuple):
    """A batch to be made, and the blocks that are free again."""

    number: int
    request: BatchRequest
    returned: tuple[int, ...]


class Answer(NamedTuple):
    """A batch or a failure, packed; blocks that are new (their handles follow) or no more."""

    task: int
    message: bytes
    fresh: tuple[Announced, ...]
    dropped: tuple[int, ...]


class Notes:
    """What a worker is at, in memory that its parent reads at any time."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory

    @classmethod
    def shared(cls) -> tuple[Notes, int]:
        """New ones, and the descriptor for the other side."""
        handle = nameless_file()
        os.ftruncate(handle, mmap.PAGESIZE)
        return cls(mmap.mmap(handle, mmap.PAGESIZE)), handle

    @classmethod
    def of(cls, handle: int) -> Notes:
        """Those of the other side."""
        memory = mmap.mmap(handle, mmap.PAGESIZE)
        os.close(handle)
        return cls(memory)

    def note(self, sample: int) -> None:
        _NOTE.pack_into(self._memory, 0, *Work.now(sample))

    def read(self) -> Work:
        return Work(*_NOTE.unpack_from(self._memory))


def run_worker(parcel: Any, tasks: Connection, handles: Connection) -> None:
    """The life of a worker."""
    _settle()
    notes, handle = Notes.shared()
    notes.note(NOBODY)
    try:
        maker: WatchedMaker = parcel.content
    except Exception as error:
        tasks.send(Failure.of(error))
        return
    tasks.send(None)
    _hand_over(handles, handle)
    maker.on_sample = notes.note
    try:
        _serve(maker, tasks, handles, notes)
    except (EOFError, OSError):
        return


def _serve(maker: WatchedMaker, tasks: Connection, handles: Connection, notes: Notes) -> None:
    blocks = OwnBlocks()
    given = _taken_at_once(tasks)
    while (task := given.get()) is not None:
        notes.note(NOBODY)
        blocks.returned(task.returned)
        try:
            with tensors_from(blocks.empty):
                made: Any = maker.make(task.request)
            message, used = pack(made, blocks)
        except Exception as error:
            message, used = pickle.dumps(Failure.of(error)), []
        made = None
        blocks.sent(used)
        fresh, blocks.fresh = blocks.fresh, []
        dropped, blocks.dropped = blocks.dropped, []
        announced = tuple(block for block, _ in fresh)
        tasks.send(Answer(task.number, message, announced, tuple(dropped)))
        for _, handle in fresh:
            _hand_over(handles, handle)


def _taken_at_once(tasks: Connection) -> SimpleQueue[Task | None]:
    """The tasks as they come: two sides that only send would wait for each other for ever."""
    given: SimpleQueue[Task | None] = SimpleQueue()

    def take() -> None:
        task: Task | None = None
        try:
            while (task := tasks.recv()) is not None:
                given.put(task)
        except (EOFError, OSError):
            return
        finally:
            given.put(None)

    threading.Thread(target=take, name="data-tasks", daemon=True).start()
    return given


def _hand_over(handles: Connection, handle: int) -> None:
    send_handle(handles, handle, os.getppid())
    os.close(handle)


def _settle() -> None:
    """One numeric thread, as workers share the cores; signals are for the process that trains."""
    import cv2
    import torch

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()


def _end_with(parent: int) -> None:
    """A worker whose parent was killed is not told, but gets another parent."""
    while os.getppid() == parent:
        time.sleep(_ALIVE_EVERY)
    os._exit(1)
