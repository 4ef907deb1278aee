"""The processes that train a sweep's trials, as seen by the one that gives the orders.

Each process that is free has no order; one that ends without an outcome was killed, and its end is
told like an outcome. A signal to the terminal reaches only the process that gives the orders.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cvtrainer.jobs.tune.worker import Order, Outcome, order_line

KILLED = "its process"
"""How the reason of a trial begins whose process ended without a word."""

LOGS = "worker_*.log"

_PATIENCE_S = 120.0
"""How long a trial may take to its next border before its process is ended."""


def wait_for_earlier(folder: Path, say: Callable[[str], None]) -> None:
    """A process whose sweep was killed stops at its next border: until then its folder is its own.

    Each process holds its log file locked for as long as it lives.
    """
    try:
        import fcntl
    except ImportError:  # a system without file locks: the run folders still have their own
        return
    for path in sorted(folder.glob(LOGS)):
        with open(path, "a", encoding="utf-8") as log:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                say(f"waiting for a trial of an earlier call to stop ({path.name})")
                fcntl.flock(log, fcntl.LOCK_EX)


class Crew:
    """Up to `count` worker processes; they are started when they are first needed."""

    def __init__(self, count: int, folder: Path) -> None:
        self._count = count
        self._folder = folder
        self._members: list[_Member] = []
        self._news: queue.Queue[tuple[_Member, Outcome | None]] = queue.Queue()

    @property
    def busy(self) -> int:
        """Trials under way."""
        return sum(member.order is not None for member in self._members)

    @property
    def has_room(self) -> bool:
        return self.busy < self._count

    def give(self, order: Order) -> None:
        """Have the trial trained by a free process."""
        free = next((one for one in self._members if one.order is None), None)
        if free is None:
            taken = {one.place for one in self._members}
            place = next(at for at in range(self._count) if at not in taken)
            free = _Member(place, self._folder / LOGS.replace("*", str(place)), self._news)
            self._members.append(free)
        if not free.take(order):
            self._members.remove(free)
            self.give(order)

    def next_outcome(self) -> Outcome:
        """Wait for a trial to end."""
        while True:
            try:
                member, outcome = self._news.get(timeout=0.5)
            except queue.Empty:
                continue
            if outcome is not None:
                member.order = None
                if outcome.ending in ("failed", "interrupted"):
                    self._forget(member)
                return outcome
            self._forget(member)
            if member.order is not None:
                number, member.order = member.order.number, None
                return Outcome(number, "interrupted", reason=f"{KILLED} {member.end()}")

    def stop(self) -> list[Outcome]:
        """Have every trial stop at its next border; how the trials under way ended."""
        waiting = [member for member in self._members if member.order is not None]
        for member in self._members:
            member.dismiss()
        outcomes = []
        for member in self._members:
            member.wait(_PATIENCE_S)
        while not self._news.empty():
            member, outcome = self._news.get()
            if outcome is not None:
                member.order = None
                outcomes.append(outcome)
        for member in waiting:
            if member.order is not None:
                outcomes.append(Outcome(member.order.number, "interrupted", reason="interrupted"))
                member.order = None
        self._members.clear()
        return outcomes

    def kill(self) -> None:
        """End all processes now."""
        for member in self._members:
            member.kill()
        self._members.clear()

    def _forget(self, member: _Member) -> None:
        if member in self._members:
            self._members.remove(member)


class _Member:
    """One process with at most one order."""

    def __init__(
        self, place: int, log: Path, news: queue.Queue[tuple[_Member, Outcome | None]]
    ) -> None:
        self.place = place
        self.order: Order | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cvtrainer.jobs.tune.worker", str(log), str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, args=(news,), daemon=True).start()

    def take(self, order: Order) -> bool:
        """Hand the order over; false where the process has ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(order_line(order))
            self._process.stdin.flush()
        except OSError:
            return False
        self.order = order
        return True

    def dismiss(self) -> None:
        """No more orders; a trial under way stops at its next border."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def wait(self, seconds: float) -> None:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def end(self) -> str:
        """How the process ended, in words."""
        code = self._process.wait()
        if code < 0:
            name = signal.Signals(-code).name
            return f"was ended by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
        return f"ended with exit code {code}"

    def _listen(self, news: queue.Queue[tuple[_Member, Outcome | None]]) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with suppress(ValueError, TypeError):
                news.put((self, Outcome(**json.loads(line))))
        news.put((self, None))
