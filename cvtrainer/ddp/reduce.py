"""Exact exchange between ranks: states of meters, small objects, buffers.

Every function is a collective: all ranks must call it at the same place. With one process each is
the identity. Tensors travel through host memory, so that no rank touches another one's GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, distributed, nn

from cvtrainer.ddp.world import World


def gather_states(state: Any, world: World) -> list[Any]:
    """The states of all ranks, by rank, on every rank."""
    if world.world_size == 1:
        return [state]
    states: list[Any] = [None] * world.world_size
    distributed.all_gather_object(states, _to_host(state))
    return states


def broadcast_object(value: Any, world: World) -> Any:
    """Rank 0's value, on every rank."""
    if world.world_size == 1:
        return value
    values = [_to_host(value)]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


@torch.no_grad()
def broadcast_buffers(networks: Iterable[nn.Module], world: World) -> None:
    """Give every rank rank 0's buffers (running statistics, say)."""
    if world.world_size == 1:
        return
    for network in networks:
        for buffer in network.buffers():
            distributed.broadcast(buffer, src=0)


def _to_host(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {key: _to_host(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_to_host(part) for part in value)
    return value
