"""Signs of life: how long the main thread has been about one thing, and where it stands.

The loop marks each batch, each evaluated batch and each file. Who watches compares the time since
the latest mark with a limit, and can tell a thread that works, or waits for others, from one that
is stuck. Marking costs less than a microsecond.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import FrameType

import torch

LEAST_LIMIT_S = 120.0
_TIMES = 10.0
_TORCH = os.path.dirname(torch.__file__) + os.sep
_LIBRARY = tuple(sysconfig.get_paths()[name] + os.sep for name in ("stdlib", "platstdlib"))
_INSTALLED = tuple(sysconfig.get_paths()[name] + os.sep for name in ("purelib", "platlib"))
_HERE = os.path.dirname(__file__) + os.sep
_EXCHANGING = tuple(
    _TORCH + room + os.sep
    for room in ("distributed", "autograd", "cuda", os.path.join("nn", "parallel"))
)
_COMPILING = tuple(
    _TORCH + os.path.join(*parts)
    for parts in (("_dynamo", "convert_frame.py"), ("_inductor", "compile_fx.py"))
)


class Pulse:
    """What the main thread is about and since when; `stuck_after` None means the usual limit."""

    def __init__(self, stuck_after: float | None = None, gpu: int | None = None) -> None:
        self.stuck_after = stuck_after
        self.gpu = gpu
        self.leaves_in_order = False
        """Set when all processes have agreed to end here."""
        self.about = ("", 0, 0)
        self.since = monotonic()
        self.slowest = 0.0
        self.beating = False

    def mark(self, phase: str, epoch: int, step: int) -> None:
        """The main thread gets on: it begins the next piece of work."""
        now = monotonic()
        took = now - self.since
        if took > self.slowest:
            self.slowest = took
        self.since = now
        self.about = (phase, epoch, step)

    def excuse(self) -> None:
        """What it does takes its time, and it is seen to get on."""
        self.since = monotonic()

    def begin(self) -> None:
        """Marks are due from now on."""
        self.since = monotonic()
        self.beating = True

    def rest(self) -> None:
        """The main thread may take what time it needs."""
        self.beating = False

    @property
    def idle(self) -> float:
        """Seconds since the latest mark; 0 where none is due."""
        return monotonic() - self.since if self.beating else 0.0

    @property
    def limit(self) -> float:
        """Seconds without a mark after which something is wrong."""
        if self.stuck_after is not None:
            return self.stuck_after
        return max(LEAST_LIMIT_S, _TIMES * self.slowest)

    def doing(self) -> str:
        """The piece of work in words."""
        phase, epoch, step = self.about
        words = {"train": "in training", "save": "while saving"}
        return f"{words.get(phase, f'in evaluation ({phase})')}, epoch {epoch}, step {step}"


@dataclass(frozen=True)
class Standing:
    """Where a thread is: in whose line of code, and whether that waits for other processes."""

    place: str
    waits: bool = False
    compiles: bool = False


def main_thread_stands(gpu: int | None = None) -> Standing:
    """The innermost frame of the main thread that is neither torch's nor the library's."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return Standing("nowhere") if frame is None else standing_of(frame, gpu)


def standing_of(innermost: FrameType, gpu: int | None = None) -> Standing:
    """Where that frame belongs to."""
    waits = False
    frame: FrameType | None = innermost
    while frame is not None and _is_inside(frame.f_code.co_filename):
        waits = waits or frame.f_code.co_filename.startswith((*_EXCHANGING, _HERE))
        frame = frame.f_back
    told = frame or innermost
    return Standing(
        f"{_short(told.f_code.co_filename)}:{told.f_lineno} ({told.f_code.co_name})",
        waits=waits or _gpu_is_busy(gpu),
        compiles=_compiles(innermost),
    )


def _is_inside(file: str) -> bool:
    if file.startswith((_TORCH, _HERE, "<frozen")):
        return True
    return file.startswith(_LIBRARY) and not file.startswith(_INSTALLED)


def _compiles(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename in _COMPILING:
            return True
        frame = frame.f_back
    return False


def _gpu_is_busy(gpu: int | None) -> bool:
    """Work that does not end lies on this process's stream: it waits for another one's part."""
    if gpu is None:
        return False
    try:
        return not torch.cuda.default_stream(gpu).query()
    except RuntimeError:
        return True


def _short(file: str) -> str:
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except ValueError:
        return file


class Output:
    """How much this process has written so far, all its threads together."""

    def __init__(self) -> None:
        self._before = _written()

    def grew(self, least: int = 1 << 20) -> bool:
        """Whether it has written that much since it was asked the last time."""
        now = _written()
        grown = now - self._before >= least
        self._before = now
        return grown


def _written() -> int:
    """0 where the system does not tell."""
    try:
        with open("/proc/self/io", encoding="ascii") as lines:
            return next((int(line[7:]) for line in lines if line.startswith("wchar:")), 0)
    except (OSError, ValueError):
        return 0
