"""Which process this is among how many, and the process group they talk through.

The place is read from the variables that torch's launcher sets (RANK, WORLD_SIZE, LOCAL_RANK) and
from nowhere else. GPUs talk through NCCL; without them gloo is used, and it says so.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

from cvtrainer.core.errors import UserError

_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True)
class World:
    """This process's number, its number on this machine, and how many there are."""

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1

    @staticmethod
    def launched() -> bool:
        """Whether a launcher has already started several processes."""
        return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def start_world(device: str) -> World:
    """Join the process group that the launcher announced; alone, there is nothing to join."""
    if not World.launched():
        return World()
    world = World(
        rank=int(os.environ["RANK"]),
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
        world_size=int(os.environ["WORLD_SIZE"]),
    )
    on_gpu = device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        if world.local_rank >= torch.cuda.device_count():
            raise too_few_gpus(int(os.environ.get("LOCAL_WORLD_SIZE", world.local_rank + 1)))
        torch.cuda.set_device(world.local_rank)
    backend = "nccl" if on_gpu else "gloo"
    dist.init_process_group(backend, timeout=_PATIENCE)
    note = "" if on_gpu else "; no GPU is used"
    print(
        f"rank {world.rank}: world_size={world.world_size}, backend={backend}{note}",
        file=sys.stderr,
        flush=True,
    )
    return world


def end_world(world: World) -> None:
    """Leave the process group."""
    if world.world_size > 1 and dist.is_initialized():
        dist.destroy_process_group()


def too_few_gpus(processes: int) -> UserError:
    """The one line about more processes than GPUs."""
    return UserError(
        f"{processes} processes were asked for and there are {torch.cuda.device_count()} GPUs",
        where="num_gpus",
        todo="Ask for fewer, or train on the CPU with device=cpu.",
    )
