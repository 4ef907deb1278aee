"""How much memory there is for this process, and how much a process has used at most.

Read from where Linux tells it, the limits of a container included; elsewhere what the standard
library knows. None says that it cannot be known here.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

_CONTAINER = Path("/sys/fs/cgroup")


def available_bytes() -> int | None:
    """What could be used now without pushing anybody out."""
    known = [value for value in (_of_machine(), _of_container()) if value is not None]
    return min(known) if known else None


def resident_bytes(process: int) -> int | None:
    """What that process holds now."""
    return _status(str(process), "VmRSS")


def peak_bytes() -> int | None:
    """The most that this process has held."""
    found = _status("self", "VmHWM")
    if found is not None or sys.platform == "win32":
        return found
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _of_machine() -> int | None:
    found = _line(Path("/proc/meminfo"), "MemAvailable")
    if found is not None:
        return found
    with suppress(AttributeError, ValueError, OSError):
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_container() -> int | None:
    try:
        limit = (_CONTAINER / "memory.max").read_text(encoding="ascii").strip()
        used = (_CONTAINER / "memory.current").read_text(encoding="ascii").strip()
        return max(int(limit) - int(used), 0)
    except (OSError, ValueError):  # no container, or one without a limit
        return None


def _status(process: str, word: str) -> int | None:
    return _line(Path("/proc") / process / "status", word)


def _line(file: Path, word: str) -> int | None:
    """The number of kB behind that word, in bytes."""
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{word}:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None
