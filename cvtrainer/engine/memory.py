"""How much memory is in use, on the accelerator and by the processes of this run.

`get_memory` and `clear_memory` are public calls. Looking costs little but not nothing: do it when a
log line is due, not in every step.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path

import torch

_GB = 2**30


def get_memory(device: str | torch.device | None = None, *, fraction: bool = False) -> float:
    """GB that torch holds on the GPU, or its share of the whole; 0 on the CPU.

    Without a device the current GPU counts, where there is one.
    """
    gpu = _gpu(device)
    if gpu is None:
        return 0.0
    held = torch.cuda.memory_reserved(gpu)
    if fraction:
        return held / int(torch.cuda.get_device_properties(gpu).total_memory)
    return held / _GB


def clear_memory(
    device: str | torch.device | None = None, *, threshold: float | None = None
) -> None:
    """Collect garbage and give cached GPU memory back, if more than `threshold` of it is held."""
    if threshold is not None and get_memory(device, fraction=True) <= threshold:
        return
    gc.collect()
    gpu = _gpu(device)
    if gpu is not None:
        with torch.cuda.device(gpu):
            torch.cuda.empty_cache()


def peak_gpu_memory(device: torch.device) -> float | None:
    """GB that tensors took at most since the last call; None without a GPU."""
    gpu = _gpu(device)
    if gpu is None:
        return None
    peak = torch.cuda.max_memory_allocated(gpu) / _GB
    torch.cuda.reset_peak_memory_stats(gpu)
    return peak


def process_memory() -> float:
    """GB of this process and all it has started; what they share counts once where that is known.

    0 on systems that do not tell.
    """
    return sum(_bytes_of(pid) for pid in [os.getpid(), *_descendants(os.getpid())]) / _GB


def _gpu(device: str | torch.device | None) -> torch.device | None:
    if not torch.cuda.is_available():
        return None
    wanted = torch.device("cuda" if device is None else device)
    return wanted if wanted.type == "cuda" else None


def _descendants(pid: int) -> list[int]:
    """Children, their children, and so on."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has ended
            continue
        parent = int(text.rpartition(")")[2].split()[1])
        children.setdefault(parent, []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = list(children.get(pid, ()))
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children.get(one, ())
    return found


def _bytes_of(pid: int) -> int:
    """Its part of shared pages and all of its own; else all that is in memory."""
    for name, word in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            lines = Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith(word):
                return int(line.split()[1]) * 1024
    return 0
