"""Starting worker processes: from a server that has loaded everything, or as copies of this one.

A copy (fork) starts at once and needs nothing to travel, but copies a process that may have
threads and a GPU in use. The server (forkserver) does not, but everything must be importable and
must travel. By default the server is asked; where that cannot work, copies are made.
"""

from __future__ import annotations

import multiprocessing
import pickle
import sys
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import recv_handle
from typing import Any, NamedTuple

from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.data.failure import Failure
from cvtrainer.data.stream.making import WatchedMaker
from cvtrainer.data.stream.packing import Parcel
from cvtrainer.data.stream.worker import Notes, run_worker

_HEAVY = ("cv2", "torch", "torchvision", "PIL.Image", "pyarrow", "scipy")
_CANNOT_TRAVEL = (pickle.PicklingError, AttributeError, TypeError, ValueError)
_START_LIMIT = 300.0
"""Seconds that a worker may take until its parts are open."""


class Started(NamedTuple):
    """A worker process that has opened its parts, what it notes, and the channels to it."""

    process: BaseProcess
    tasks: Connection
    handles: Connection
    notes: Notes


class Crowd(NamedTuple):
    """All workers, and how they were started."""

    workers: list[Started]
    way: str


class _CannotStart(RunFailed):
    """The parts have travelled, but the worker could not open them."""


def start_workers(maker: WatchedMaker, count: int, wanted: str | None) -> Crowd:
    """Workers that hold that maker, started the way that is wanted or that can work."""
    ways = [wanted] if wanted else _ways()
    for way in ways:
        try:
            return Crowd(_start(maker, count, way), way)
        except (*_CANNOT_TRAVEL, _CannotStart) as error:
            if way == ways[-1]:
                raise _explained(error, way) from error
    raise AssertionError("the last way returns or raises")


def _explained(error: Exception, way: str) -> Exception:
    if isinstance(error, _CannotStart):
        return RunFailed(error.what, todo=error.todo)
    return UserError(
        f"the parts of the data cannot be handed to another process: {error}",
        where=f"multiprocessing_context: {way}",
        todo="Define them at the top level of a module, or use multiprocessing_context: fork.",
    )


def _ways() -> list[str]:
    """A program that is a plain script would be run again by a server's workers."""
    known = multiprocessing.get_all_start_methods()
    if "fork" not in known:
        return ["spawn"]
    script = _is_plain_script()
    if "forkserver" not in known or script:
        return ["fork"]
    return ["forkserver", "fork"]


def _is_plain_script() -> bool:
    main = sys.modules.get("__main__")
    file = str(getattr(main, "__file__", None) or "")
    return getattr(main, "__spec__", None) is None and file.endswith(".py")


def _start(maker: WatchedMaker, count: int, way: str) -> list[Started]:
    context: Any = multiprocessing.get_context(way)
    if way == "forkserver":
        context.set_forkserver_preload(_loaded())
    begun: list[_Begun] = []
    try:
        for _ in range(count):
            begun.append(_begin(context, maker))
        return [one.ready() for one in begun]
    except BaseException:
        for one in begun:
            one.process.kill()
            one.process.join()
        raise


class _Begun(NamedTuple):
    """A worker process that has not said yet whether it is ready."""

    process: BaseProcess
    tasks: Connection
    handles: Connection

    def ready(self) -> Started:
        """Wait until it has opened its parts."""
        if not wait([self.tasks, self.process.sentinel], timeout=_START_LIMIT):
            raise RunFailed(f"a data worker did not start within {_START_LIMIT:.0f} s")
        try:
            failure: Failure | None = self.tasks.recv()
        except (EOFError, OSError):
            self.process.join()
            raise _CannotStart(
                f"a data worker ended with exit code {self.process.exitcode} while starting",
                todo="Its own message is above; multiprocessing_context: fork may help.",
            ) from None
        if failure is not None:
            raise _CannotStart(
                f"a data worker cannot open the parts of the data: {failure.exception()}",
                todo="Define them where they can be imported, or use "
                "multiprocessing_context: fork.",
            )
        notes = Notes.of(recv_handle(self.handles))
        return Started(self.process, self.tasks, self.handles, notes)


def _begin(context: Any, maker: WatchedMaker) -> _Begun:
    tasks, its_tasks = context.Pipe(duplex=True)
    handles, its_handles = context.Pipe(duplex=True)
    process = context.Process(
        target=run_worker, args=(Parcel(maker), its_tasks, its_handles), daemon=True
    )
    try:
        process.start()
    finally:
        its_tasks.close()
        its_handles.close()
    return _Begun(process, tasks, handles)


def _loaded() -> list[str]:
    """What this process uses of ours and of the heavy libraries; the server loads it once."""
    ours = [name for name in sys.modules if name.startswith("cvtrainer.data")]
    return sorted(ours) + [name for name in _HEAVY if name in sys.modules]
