"""Wrapping a network so that its gradients are averaged over all processes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def wrap_ddp(
    network: nn.Module, *, device: torch.device, find_unused_parameters: bool = False
) -> nn.Module:
    """Averages gradients while they are computed; weights start as rank 0's."""
    return DistributedDataParallel(
        network,
        device_ids=[device.index] if device.type == "cuda" else None,
        find_unused_parameters=find_unused_parameters,
    )
