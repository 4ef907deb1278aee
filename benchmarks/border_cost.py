"""What agreeing on an end costs per step: two gloo ranks, with and without it, in turns.

    python -m benchmarks.border_cost

Each step computes for a while and adds up 100,000 numbers over the ranks, as an exchange of
gradients does. Printed is the median over blocks of the difference per step.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time

import torch
from torch import distributed

from cvtrainer.ddp.agreement import agreement
from cvtrainer.ddp.world import World, joined_world

STEPS_S = (0.002, 0.01, 0.05)
BLOCKS = 12
BLOCK_S = 0.5


def measure(world: World, seconds: float) -> tuple[float, float]:
    """Median seconds per step without and with, over blocks in turns."""
    numbers, together = torch.zeros(100_000), agreement(world.world_size)
    count = max(4, int(BLOCK_S / seconds))
    times: dict[bool, list[float]] = {False: [], True: []}
    for block in range(2 * BLOCKS):
        agrees = bool(block % 2)
        distributed.barrier()
        began = time.perf_counter()
        for step in range(count):
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                pass
            distributed.all_reduce(numbers)
            if agrees:
                world.pulse.mark("train", 1, step)
                together.border(0)
        times[agrees].append((time.perf_counter() - began) / count)
    return statistics.median(times[False]), statistics.median(times[True])


def main() -> None:
    if "RANK" not in os.environ:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
        words = [sys.executable, "-m", "benchmarks.border_cost"]
        ranks = [
            subprocess.Popen(words, env={**os.environ, **meet, "RANK": rank, "LOCAL_RANK": rank})
            for rank in ("0", "1")
        ]
        for rank in ranks:
            rank.wait()
        return
    torch.set_num_threads(1)
    with joined_world("cpu") as world:
        for seconds in STEPS_S:
            without, with_it = measure(world, seconds)
            if world.rank == 0:
                print(
                    f"step of {seconds * 1e3:4.0f} ms: {without * 1e6:8.0f} us without, "
                    f"{with_it * 1e6:8.0f} us with, {(with_it / without - 1) * 100:+.2f} %",
                    flush=True,
                )


if __name__ == "__main__":
    main()
