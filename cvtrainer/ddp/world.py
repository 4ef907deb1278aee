"""Which process this is among how many, and the process group that joins them.

torchrun and our own launcher say so in the environment, which is read here and nowhere else. On
GPUs tensors travel by NCCL and plain objects by Gloo; without a GPU everything goes by Gloo.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import torch
from torch import distributed

from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.ddp.meeting import Launch, Meeting, launch_of_one, meet
from cvtrainer.ddp.pulse import Pulse
from cvtrainer.ddp.watch import ending_together

_WORDS = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True)
class World:
    """One process alone, unless told otherwise."""

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    launch: Launch = field(default_factory=Launch, compare=False, repr=False)
    pulse: Pulse = field(default_factory=Pulse, compare=False, repr=False)
    """Who trains or evaluates marks here that it gets on."""

    @staticmethod
    def launched() -> bool:
        """Whether somebody (torchrun, our launcher) started this process as one of several."""
        return all(word in os.environ for word in _WORDS)

    @classmethod
    def from_environment(cls) -> World:
        """This process's place as its launcher wrote it down."""
        if not cls.launched():
            return cls()
        words = {word: os.environ.get(word, "0") for word in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
        try:
            rank, local_rank, world_size = (int(word) for word in words.values())
        except ValueError as error:
            raise UserError(
                f"the environment does not say which process this is: {words}",
                todo="Start it with torchrun or with --num_gpus.",
            ) from error
        return cls(rank, local_rank, world_size)


@contextmanager
def joined_world(device: str = "auto", *, stuck_after: float | None = None) -> Iterator[World]:
    """Join the other processes, leave with them, and end all of them if one fails."""
    world, meeting = _joined(World.from_environment(), device, _TIMEOUT)
    if runs_on_gpu(device):
        world.pulse.gpu = world.local_rank
    world.pulse.stuck_after = stuck_after
    with ending_together(world.rank, world.world_size, world.pulse, meeting):
        yield world
        end_world(world)


def start_world(device: str = "auto", *, timeout: timedelta = _TIMEOUT) -> World:
    """Join the process group, where there is more than one process."""
    return _joined(World.from_environment(), device, timeout)[0]


def _joined(world: World, device: str, timeout: timedelta) -> tuple[World, Meeting | None]:
    if world.world_size == 1:
        return (replace(world, launch=launch_of_one()) if World.launched() else world), None
    if distributed.is_initialized():
        return world, None
    on_gpu = runs_on_gpu(device)
    if on_gpu:
        _claim_gpu(device, world)
    backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
    try:
        meeting = meet(world.rank, world.world_size, timeout)
        distributed.init_process_group(
            backend,
            store=meeting.store,
            rank=world.rank,
            world_size=world.world_size,
            timeout=timeout,
        )
    except (distributed.DistError, TimeoutError, ValueError) as error:
        raise RunFailed(f"rank {world.rank} of {world.world_size} cannot join: {error}") from error
    place = f"GPU {world.local_rank}, nccl" if on_gpu else "CPU, gloo"
    # One write for the whole line, so that the ranks' lines do not run into each other.
    sys.stderr.write(f"rank {world.rank}: world_size={world.world_size}, {place}\n")
    sys.stderr.flush()
    return replace(world, launch=meeting.launch), meeting


def end_world(world: World) -> None:
    """Leave together with the others; the group's last act."""
    if world.world_size > 1 and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def running_processes() -> int:
    """How many processes have joined."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def runs_on_gpu(device: str) -> bool:
    """Whether `auto | cpu | cuda | cuda:N` means a GPU on this machine."""
    return device != "cpu" and torch.cuda.is_available() and distributed.is_nccl_available()


def refuse_too_many(processes: int, device: str) -> None:
    """Each process needs a GPU of its own on a machine that has any."""
    if not runs_on_gpu(device):
        return
    gpus = torch.cuda.device_count()
    if processes > gpus:
        raise UserError(
            f"{processes} processes were asked for and there are {gpus} GPUs here",
            where="num_gpus",
            todo=f"Use {gpus} or fewer, or device: cpu.",
        )
    if ":" in device and processes > 1:
        raise UserError(
            f"{device} is one GPU and {processes} processes need one each",
            where="device",
            todo="Use device: cuda.",
        )


def _claim_gpu(device: str, world: World) -> None:
    local = int(os.environ.get("LOCAL_WORLD_SIZE", world.local_rank + 1))
    refuse_too_many(local, device)
    torch.cuda.set_device(world.local_rank)
