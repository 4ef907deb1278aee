"""Data sets that the stream tests make batches of; importable, so that they travel anywhere."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from cvtrainer.data.pipeline import Parts
from cvtrainer.data.stream import LoaderStream


class Tiles:
    """Pictures of one number, each as large as asked for; may misbehave at one of them."""

    draws_randomly = False
    thread_safe = True

    def __init__(self, length: int = 24, *, side: int = 4, at: int = -1, does: str = "") -> None:
        self.length = length
        self.side = side
        self.at = at
        self.does = does
        self.threads: set[str] = set()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == self.at:
            self._misbehave()
        self.threads.add(threading.current_thread().name)
        return {
            "x": np.full((3, self.side, self.side), index, dtype=np.float32),
            "target": {"class_id": index},
            "meta": {"index": index, "path": self.file(index), "process": os.getpid()},
        }

    def file(self, index: int) -> str:
        """What a message calls that sample."""
        return f"tiles/{index}.png"

    def _misbehave(self) -> None:
        if self.does == "raise":
            raise KeyError("mine")
        if self.does == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.does == "exit":
            os._exit(3)
        if self.does == "sleep":
            time.sleep(60)


class Slow(Tiles):
    """Each sample takes its time, without holding the interpreter."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        time.sleep(0.01)
        return super().__getitem__(index)


class Unsafe(Tiles):
    """Says nothing of threads."""

    thread_safe = False


def stream_of(dataset: Any, **options: Any) -> LoaderStream:
    """Batches of four, in order."""
    return LoaderStream(Parts(dataset), options={"batch_size": 4, **options})


def numbers(batches: Any) -> list[int]:
    """Which samples the batches hold."""
    return [index for batch in batches for index in batch["meta"]["index"]]


def ends(process: int, within: float) -> bool:
    """Whether that process is gone (or only waits to be collected) within so many seconds."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False
