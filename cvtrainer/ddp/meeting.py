"""Where the processes of one start meet, and what tells this launch from every other one.

A launcher's store outlives the processes that it starts again, with all that the earlier ones wrote
there. So each start agrees on a corner of its own first; what lies in another corner is history.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import socket
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

_HELLO, _WELCOME, _LAUNCH = "cvtrainer/hello/", "cvtrainer/welcome/", "cvtrainer/launch"
_NAMELESS = ("", "none")
"""What torchrun calls a launch that nobody has given a name."""
_CALLS = itertools.count()
"""This process may train several times, one after the other; each is a run of its own."""


@dataclass(frozen=True)
class Launch:
    """One call of a launcher, which may start its processes several times.

    `name` is the launcher's own word for it, `mark` was drawn when it first started, `call` counts
    the trainings of its processes; `again` says that these are not the first ones it has started.
    """

    name: str = ""
    mark: str = ""
    again: bool = False
    call: int = 0

    def is_of(self, written: Any) -> bool:
        """Whether an earlier start of this launch has written that."""
        if not (self.again and isinstance(written, dict) and written.get("call") == self.call):
            return False
        if self.mark and written.get("mark") == self.mark:
            return True
        return self.name not in _NAMELESS and written.get("name") == self.name

    def as_plain(self) -> dict[str, Any]:
        """For the run's folder."""
        return {"name": self.name, "mark": self.mark, "call": self.call}


@dataclass(frozen=True)
class Meeting:
    """The corner of this start, and the launch it belongs to."""

    corner: str
    store: Store
    launch: Launch

    def own_line(self, timeout: timedelta = timedelta(seconds=30)) -> Store:
        """Another connection to the same corner, for a thread that must not wait for this one."""
        return PrefixStore(self.corner, _connect(timeout))


def meet(rank: int, world_size: int, timeout: timedelta) -> Meeting:
    """Agree with the other processes of this start; all of them must come."""
    store, _, _ = next(rendezvous("env://", rank, world_size, timeout=timeout))
    if rank == 0:
        launch = _launch(store)
        corner = f"cvtrainer/{secrets.token_hex(8)}"
        _welcome_all(store, corner, launch, world_size, timeout)
    else:
        own = secrets.token_hex(8)
        store.set(f"{_HELLO}{rank}", own)
        store.wait([_WELCOME + own], timeout)
        told = json.loads(store.get(_WELCOME + own))
        corner, launch = told["corner"], Launch(**told["launch"])
        store.add(f"{corner}/came", 1)
    return Meeting(corner, PrefixStore(corner, store), launch)


def launch_of_one() -> Launch:
    """The launch of a process that is alone, where an elastic launcher started it."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return _launch(_connect(timedelta(seconds=30)))
    return Launch(os.environ.get("TORCHELASTIC_RUN_ID", ""), "", _count() > 0, next(_CALLS))


def _launch(store: Store) -> Launch:
    """Drawn by the first process that comes here, found by all later ones."""
    name, own = os.environ.get("TORCHELASTIC_RUN_ID", ""), f"{this_machine()} {os.getpid()}"
    drawn = json.dumps([secrets.token_hex(8), own])
    mark, drawer = json.loads(store.compare_set(_LAUNCH, "", drawn))
    return Launch(name, mark, again=drawer != own or _count() > 0, call=next(_CALLS))


def start_follows() -> bool:
    """Whether this launcher would start its processes again after a failure."""
    return _count() < _count("TORCHELASTIC_MAX_RESTARTS")


def _count(word: str = "TORCHELASTIC_RESTART_COUNT") -> int:
    """How often this agent has started its processes again; changes of membership do not count."""
    text = os.environ.get(word, "0")
    return int(text) if text.isdigit() else 0


def _welcome_all(
    store: Store, corner: str, launch: Launch, world_size: int, timeout: timedelta
) -> None:
    """Answer everybody who says hello until all have come; an earlier start's hello may lie there.

    An answer goes to the word that was drawn for the hello, so an old one reaches nobody.
    """
    answer = json.dumps({"corner": corner, "launch": vars(launch)})
    answered: set[str] = set()
    deadline = time.monotonic() + timeout.total_seconds()
    while store.add(f"{corner}/came", 0) < world_size - 1:
        for rank in range(1, world_size):
            if not store.check([f"{_HELLO}{rank}"]):
                continue
            word = store.get(f"{_HELLO}{rank}").decode()
            if word not in answered:
                store.set(_WELCOME + word, answer)
                answered.add(word)
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of {world_size} processes have come")
        time.sleep(0.02)


def this_machine() -> str:
    """The same for all processes of one machine, and for nobody else."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        started = ""
    return f"{socket.gethostname()} {started}"


def _connect(timeout: timedelta) -> TCPStore:
    return TCPStore(
        os.environ.get("MASTER_ADDR", "localhost"),
        int(os.environ.get("MASTER_PORT", "0")),
        world_size=None,
        is_master=False,
        wait_for_workers=False,
        timeout=timeout,
    )
