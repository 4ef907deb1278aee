"""Starts one process per GPU on this machine and waits for them, without torchrun on the line.

torch's own elastic agent does the work inside this process: it starts the ranks, hands signals on,
and ends the others when one dies. A process that was itself launched never comes here.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cvtrainer.ddp.world import refuse_too_many

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

_THREADS = "OMP_NUM_THREADS"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def launch_ranks(words: Sequence[str], processes: int, *, device: str = "auto") -> int:
    """Run `cvtrainer WORDS` in so many processes; the exit code of the first that failed, or 0."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    refuse_too_many(processes, device)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        logs_specs=DefaultLogsSpecs(),
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        local_addr="localhost",
    )
    try:
        with _quiet_agent(), _shared_cores(processes), _signals_given_back():
            elastic_launch(config, sys.executable)("-m", "cvtrainer.cli", *words)
    except ChildFailedError as failed:
        return _exit_code(failed)
    except SignalException as stopped:
        raise KeyboardInterrupt from stopped
    return 0


def _exit_code(failed: ChildFailedError) -> int:
    """What the first rank to fail ended with; a rank that was killed could not say so itself."""
    failures = sorted(failed.failures.items(), key=lambda entry: entry[1].timestamp)
    for rank, failure in failures:
        if failure.exitcode < 0 and -failure.exitcode != signal.SIGTERM:
            name = signal.Signals(-failure.exitcode).name
            print(f"rank {rank} was ended by {name}", file=sys.stderr)
    codes = [failure.exitcode for _, failure in failures if failure.exitcode > 0]
    return codes[0] if codes else 1


@contextmanager
def _quiet_agent() -> Iterator[None]:
    """The ranks tell the cause themselves; the agent's report of it would be a second one."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


@contextmanager
def _shared_cores(processes: int) -> Iterator[None]:
    """Numeric threads: this machine's cores divided among the ranks, unless it is set already."""
    if os.environ.get(_THREADS):
        yield
        return
    os.environ[_THREADS] = str(max(1, (os.cpu_count() or 1) // processes))
    try:
        yield
    finally:
        os.environ.pop(_THREADS, None)


@contextmanager
def _signals_given_back() -> Iterator[None]:
    """The agent takes over the signals and does not give them back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
