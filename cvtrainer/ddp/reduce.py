"""What ranks tell each other outside of gradients: states of meters, buffers, small objects.

States are gathered whole and merged by their owners, which is exact for any meter; nothing is
averaged here. With one process every function is the identity.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import torch.distributed as dist
from torch import nn

from cvtrainer.ddp.world import World

Value = TypeVar("Value")


def gather_states(state: Value, world: World) -> list[Value]:
    """Everybody's state, in rank order, on every rank."""
    if world.world_size == 1:
        return [state]
    states: list[Any] = [None] * world.world_size
    dist.all_gather_object(states, state)
    return states


def broadcast_object(value: Value, world: World) -> Value:
    """Rank 0's value on every rank."""
    if world.world_size == 1:
        return value
    box: list[Any] = [value]
    dist.broadcast_object_list(box, src=0)
    found: Value = box[0]
    return found


def broadcast_buffers(networks: Iterable[nn.Module], world: World) -> None:
    """Rank 0's running statistics everywhere, so that all ranks evaluate the same network."""
    if world.world_size == 1:
        return
    for network in networks:
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)
