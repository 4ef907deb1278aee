"""What agreeing on an end costs per step: two gloo ranks, with and without it, in turns.

    python -m benchmarks.border_cost

Each step computes for a while and adds up 100,000 numbers over the ranks, as an exchange of
gradients does. Printed are medians over blocks; processor time (of all threads) says the same where
others use the machine as well.
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


def measure(world: World, seconds: float) -> tuple[list[float], list[float]]:
    """Median seconds per step, wall and processor, without and with, over blocks in turns."""
    numbers, together = torch.zeros(100_000), agreement(world.world_size)
    count = max(4, int(BLOCK_S / seconds))
    times: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for block in range(2 * BLOCKS):
        agrees = bool(block % 2)
        distributed.barrier()
        began, used = time.perf_counter(), time.process_time()
        for step in range(count):
            until = time.thread_time() + seconds
            while time.thread_time() < until:
                pass
            distributed.all_reduce(numbers)
            if agrees:
                world.pulse.mark("train", 1, step)
                together.border(0)
        spent = time.perf_counter() - began, time.process_time() - used
        times[agrees].append((spent[0] / count, spent[1] / count))
    without, with_it = (
        [statistics.median(one[place] for one in times[agrees]) for place in (0, 1)]
        for agrees in (False, True)
    )
    return without, with_it


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
                told = [
                    f"{name} {(one - other) * 1e6:+6.0f} us ({(one / other - 1) * 100:+.2f} %)"
                    for name, one, other in zip(
                        ("wall", "processor"), with_it, without, strict=True
                    )
                ]
                print(f"step of {seconds * 1e3:4.0f} ms: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
