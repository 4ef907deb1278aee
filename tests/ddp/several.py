"""Starts a program of the tests as several ranks on this machine, however they may end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """Exit codes by rank, what was said by all of them, and when the last one was gone."""

    codes: list[int]
    told: str
    at: float


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_ranks(module: str, *words: str, ranks: int = 2, timeout: float = 100) -> Ended:
    """All of them are gone when this returns."""
    meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    common = {**os.environ, **meet, "WORLD_SIZE": str(ranks), "PYTHONPATH": path}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", module, *words],
            env={**common, "OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(ranks)
    ]
    deadline = time.monotonic() + timeout
    try:
        while any(process.poll() is None for process in processes):
            assert time.monotonic() < deadline, "they do not end"
            time.sleep(0.05)
        at = time.time()
    finally:
        for process in processes:
            process.kill()
        told = "\n".join(process.communicate()[0] for process in processes)
    return Ended([process.returncode for process in processes], told, at)
