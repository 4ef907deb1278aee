"""Starts one process per GPU on this machine and waits for them, without torchrun on the line.

torch's own elastic agent does the work inside this process: it starts the ranks, hands signals on,
ends the others when one dies, starts all again where that was asked for, and meets the agents of
other machines. A process that was itself launched never comes here.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.ddp.world import refuse_too_many

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig

_THREADS = "OMP_NUM_THREADS"
_PATIENCE = "TORCH_ELASTIC_SHUTDOWN_TIMEOUT"
_OWN_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
"""torch 2.14 never tells a machine that comes later where an agent's shared store is."""
_SAVING_S = 3600
"""So long ranks that were told to end may take to save; a second signal hurries them."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_INTERRUPTED = 130
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_LAUNCHES = itertools.count()
"""Machines must agree on a launch's name, and one process may launch several times."""


@dataclass(frozen=True)
class Nodes:
    """How many machines take part, which of them this is, and where they meet (`host:port`).

    Without a rank anybody may come: `least` are enough to train, up to `most` are let in later.
    """

    least: int = 1
    most: int = 1
    rank: int | None = None
    meet_at: str | None = None

    @classmethod
    def from_words(cls, number: int | str | None, rank: int | None, meet_at: str | None) -> Nodes:
        """`2`, or `1:4` for as many of them as there are."""
        least, _, most = str(number or 1).partition(":")
        if not least.isdigit() or (most and not most.isdigit()):
            raise UserError(f"{number!r} is no number of machines", where="num_nodes")
        nodes = cls(int(least), int(most or least), rank, meet_at)
        if not 1 <= nodes.least <= nodes.most:
            raise UserError(f"{number!r} is no number of machines", where="num_nodes")
        if nodes.most > 1 and not meet_at:
            raise UserError(
                f"{nodes.most} machines must know where they meet",
                where="rendezvous",
                todo="Give host:port, a free port of one of them, the same to all.",
            )
        if rank is not None and not (nodes.least == nodes.most and 0 <= rank < nodes.most):
            raise UserError(
                f"node_rank is {rank} of {number or 1} machines",
                where="node_rank",
                todo="Ranks count from 0, and a number of machines that may change has none.",
            )
        return nodes


def launch_ranks(
    words: Sequence[str],
    processes: int,
    *,
    device: str = "auto",
    nodes: Nodes | None = None,
    max_restarts: int = 0,
) -> int:
    """Run `cvtrainer WORDS` in so many processes; the exit code of the first that failed, or 0.

    Ranks that were told to end raise KeyboardInterrupt here, once they have saved.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import elastic_launch

    refuse_too_many(processes, device)
    nodes = nodes or Nodes()
    words_set = {_PATIENCE: str(_SAVING_S), _THREADS: _share_of_cores(processes)}
    if nodes.least < nodes.most:
        words_set[_OWN_STORE] = "1"
    try:
        with _quiet_agent(), _unless_set(words_set), _signals_given_back():
            config = _settings(nodes, processes, max_restarts)
            elastic_launch(config, sys.executable)("-m", "cvtrainer.cli", *words)
    except ChildFailedError as failed:
        code = _exit_code(failed)
        if code == _INTERRUPTED:
            raise KeyboardInterrupt from failed
        return code
    except SignalException as stopped:
        raise KeyboardInterrupt from stopped
    except RendezvousError as error:
        raise RunFailed(
            f"the machines cannot meet at {nodes.meet_at or 'localhost'} ({error})",
            where="rendezvous",
        ) from error
    return 0


def _settings(nodes: Nodes, processes: int, max_restarts: int) -> LaunchConfig:
    """For torch's launcher."""
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    meet_at = nodes.meet_at or "localhost:0"
    near = meet_at.rpartition(":")[0].strip("[]") in _LOOPBACK
    fixed = nodes.most > 1 and nodes.rank is not None
    return LaunchConfig(
        min_nodes=nodes.least,
        max_nodes=nodes.most,
        nproc_per_node=processes,
        logs_specs=DefaultLogsSpecs(),
        run_id=uuid.uuid4().hex if nodes.most == 1 else f"cvtrainer-{next(_LAUNCHES)}",
        rdzv_backend="static" if fixed else "c10d",
        rdzv_endpoint=meet_at,
        rdzv_configs={"rank": nodes.rank, "timeout": 900} if fixed else {},
        max_restarts=max_restarts,
        local_addr="localhost" if near else None,
    )


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


def _share_of_cores(processes: int) -> str:
    """Numeric threads of a rank: this machine's cores divided among them."""
    return str(max(1, (os.cpu_count() or 1) // processes))


@contextmanager
def _unless_set(words: Mapping[str, str]) -> Iterator[None]:
    """Words of the environment that the user has not chosen, for a while."""
    added = [name for name in words if not os.environ.get(name)]
    os.environ.update({name: words[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


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
