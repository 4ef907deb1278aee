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

_HELLO, _WELCOME = "cvtrainer/hello/", "cvtrainer/welcome/"
_CALLS = itertools.count()
"""This process may train several times, one after the other; each is a run of its own."""


@dataclass(frozen=True)
class Launch:
    """One call of an elastic launcher, which may start its processes several times.

    `name` is the launcher's own word for it, `agents` are the processes that started these ones,
    and `call` counts their trainings. Machines may come and go, but one agent always stays.
    """

    name: str = ""
    agents: tuple[str, ...] = ()
    call: int = 0

    def is_of(self, written: Any) -> bool:
        """Whether an earlier start of this launch has written that."""
        if not (self.name and isinstance(written, dict)):
            return False
        same = written.get("name") == self.name and written.get("call") == self.call
        return same and not set(self.agents).isdisjoint(written.get("agents", ()))

    def as_plain(self) -> dict[str, Any]:
        """For the run's folder."""
        return {"name": self.name, "agents": list(self.agents), "call": self.call}


@dataclass(frozen=True)
class Meeting:
    """The corner of this start, and the launch it belongs to."""

    corner: str
    store: Store
    launch: Launch

    def own_line(self, timeout: timedelta = timedelta(seconds=30)) -> Store:
        """Another connection to the same corner, for a thread that must not wait for this one."""
        line = TCPStore(
            os.environ.get("MASTER_ADDR", "localhost"),
            int(os.environ.get("MASTER_PORT", "0")),
            world_size=None,
            is_master=False,
            wait_for_workers=False,
            timeout=timeout,
        )
        return PrefixStore(self.corner, line)


def meet(rank: int, world_size: int, timeout: timedelta) -> Meeting:
    """Agree with the other processes of this start; all of them must come."""
    store, _, _ = next(rendezvous("env://", rank, world_size, timeout=timeout))
    if rank == 0:
        corner = f"cvtrainer/{secrets.token_hex(8)}"
        agents = _welcome_all(store, corner, world_size, timeout)
    else:
        word = secrets.token_hex(8)
        store.set(f"{_HELLO}{rank}", json.dumps([word, _agent()]))
        store.wait([_WELCOME + word], timeout)
        corner = store.get(_WELCOME + word).decode()
        store.add(f"{corner}/came", 1)
        agents = ()
    return Meeting(corner, PrefixStore(corner, store), _launch(agents))


def launch_of_one() -> Launch:
    """The launch of a process that is alone."""
    return _launch((_agent(),))


def _launch(agents: tuple[str, ...]) -> Launch:
    return Launch(os.environ.get("TORCHELASTIC_RUN_ID", ""), agents, next(_CALLS))


def _agent() -> str:
    """The process that started this one: its machine, its number, and when it began."""
    number = os.getppid()
    try:
        fields = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2]
        began = fields.split()[19]
    except (OSError, IndexError):
        began = ""
    return f"{this_machine()} {number} {began}"


def _welcome_all(store: Store, corner: str, world_size: int, timeout: timedelta) -> tuple[str, ...]:
    """Answer everybody who says hello until all have come; an earlier start's hello may lie there.

    An answer goes to the word that was drawn for the hello, so an old one reaches nobody. Gives
    the agents of all.
    """
    agents: dict[int, str] = {0: _agent()}
    answered: set[str] = set()
    deadline = time.monotonic() + timeout.total_seconds()
    while store.add(f"{corner}/came", 0) < world_size - 1:
        for rank in range(1, world_size):
            if not store.check([f"{_HELLO}{rank}"]):
                continue
            word, agents[rank] = json.loads(store.get(f"{_HELLO}{rank}"))
            if word not in answered:
                store.set(_WELCOME + word, corner)
                answered.add(word)
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of {world_size} processes have come")
        time.sleep(0.02)
    return tuple(dict.fromkeys(agents.values()))


def start_follows() -> bool:
    """Whether this launcher would start its processes again after a failure."""
    return _count() < _count("TORCHELASTIC_MAX_RESTARTS")


def _count(word: str = "TORCHELASTIC_RESTART_COUNT") -> int:
    """How often this agent has started its processes again; changes of membership do not count."""
    text = os.environ.get(word, "0")
    return int(text) if text.isdigit() else 0


def this_machine() -> str:
    """The same for all processes of one machine, and for nobody else."""
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        started = ""
    return f"{socket.gethostname()} {started}"
