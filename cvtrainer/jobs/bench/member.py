"""A worker process as seen by the one that gives the orders: results by pipe, ends in words."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.jobs.bench.subjects import Subject

_PATIENCE_S = 600.0
"""How long a process may take to open its artefact, or for one block."""


class BrokenArtefactError(UserError):
    """An artefact that cannot be opened or run."""


class Member:
    """One artefact, opened with so many threads."""

    def __init__(self, subject: Subject, threads: int) -> None:
        self.subject = subject
        self.threads = threads
        self.milliseconds: dict[int, list[list[float]]] = {}
        """Of each batch size, block by block."""
        self.peaks: dict[int, int | None] = {}
        self.opened: dict[str, Any] = {}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (until `close`)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cvtrainer.jobs.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._news: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def open(self) -> None:
        """Have it open the artefact."""
        path, contract = self.subject.path.absolute(), self.subject.contract
        told = {"path": str(path), "contract": contract.plain(), "threads": self.threads}
        self.opened = self._asked(told)

    def measure(self, batch: int, order: dict[str, Any]) -> None:
        """One block."""
        told = self._asked({"batch": batch, **order})
        self.milliseconds.setdefault(batch, []).append(told["ms"])
        self.peaks[batch] = told["peak"]

    def dismiss(self) -> None:
        """No more orders: it closes what it opened, and ends."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def close(self) -> None:
        """Wait for its end."""
        self.dismiss()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _asked(self, told: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        with suppress(OSError):  # it has ended: what it said before is in the queue
            self._process.stdin.write(f"{json.dumps(told)}\n")
            self._process.stdin.flush()
        try:
            line = self._news.get(timeout=_PATIENCE_S)
        except queue.Empty:
            self._process.kill()
            raise self._broken(f"no answer in {_PATIENCE_S:.0f} seconds") from None
        if line is None:
            raise self._broken(self._end())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise self._broken(str(answer["error"]))
        return answer

    def _broken(self, why: str) -> BrokenArtefactError:
        place = str(self.subject.path.absolute())  # of what is in a package, where it was unpacked
        return BrokenArtefactError(
            why.removeprefix(f"{place}: ").replace(place, self.name), where=self.name
        )

    @property
    def name(self) -> str:
        return self.subject.name

    def _end(self) -> str:
        code = self._process.wait()
        if code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        self._log.seek(0)
        said = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return f"its process ended with exit code {code}" + (f": {said[-1]}" if said else "")

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._news.put(line)
        self._news.put(None)
