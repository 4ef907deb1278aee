"""What is known of the processor that measures, and what must be said about it.

Linux tells instruction sets in /proc/cpuinfo; elsewhere there is the name of the machine alone.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
_LISTS = ("flags", "Features", "isa")
_NAMES = ("model name", "Model", "Hardware", "uarch")
_TOLD = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni"),
    *("avx512_bf16", "avx512_fp16", "amx_int8", "amx_bf16"),
    *("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
"""Those that decide how fast a network is."""
_DOT_PRODUCTS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})

NOT_THE_DEVICE = "Measured on this host, which is not the device: only ratios may carry over."


@dataclass(frozen=True)
class Host:
    """`instructions` are the sets that matter here; None where they cannot be known."""

    processor: str
    machine: str
    system: str
    cores: int
    instructions: tuple[str, ...] | None

    def notes(self, precisions: Collection[str]) -> list[str]:
        """What nobody may overlook who reads the figures."""
        found = [NOT_THE_DEVICE]
        if "int8" not in precisions:
            return found
        if self.instructions is None:
            found.append(
                "Whether this processor has dot products of 8-bit numbers is not known here; "
                "without, int8 may be slower than fp32."
            )
        elif not _DOT_PRODUCTS & set(self.instructions):
            found.append(
                "This processor has no dot products of 8-bit numbers (VNNI, asimddp): int8 may be "
                "slower here than fp32, which says nothing about the device."
            )
        return found


def host_here(cpuinfo: Path = CPUINFO) -> Host:
    """This machine."""
    words = _words(cpuinfo)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = next((words[key] for key in _NAMES if words.get(key)), "")
    listed = next((words[key].split() for key in _LISTS if words.get(key)), None)
    return Host(
        name or platform.processor() or "unknown",
        platform.machine(),
        platform.system(),
        usable or 1,
        None if listed is None else tuple(one for one in _TOLD if one in listed),
    )


def _words(cpuinfo: Path) -> dict[str, str]:
    """Of the first processor."""
    found: dict[str, str] = {}
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found
