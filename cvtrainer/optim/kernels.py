"""Which of torch's implementations of an optimizer computes a step, where the config is silent.

One fused kernel moves all parameters at once: on CPUs in a quarter to a half of the time (figures
in docs/experiments.md), on GPUs without asking the device whether a scaled step overflowed.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

_CHOICES = ("fused", "foreach", "capturable", "differentiable")
_DEVICES = ("cpu", "cuda")
_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def chosen_kernel(
    type: type[Optimizer], kwargs: Mapping[str, Any], network: nn.Module
) -> dict[str, bool]:
    """`fused` for torch's own optimizers that have it, on plain tensors with dense gradients."""
    if any(kwargs.get(word) is not None for word in _CHOICES):
        return {}
    ours = type.__module__.startswith("torch.optim.")
    if (
        not ours
        or "fused" not in inspect.signature(type).parameters
        or has_sparse_gradients(network)
    ):
        return {}
    return {"fused": True} if _plain(network.parameters()) else {}


def has_sparse_gradients(network: nn.Module) -> bool:
    """Whether some embedding in it gives sparse gradients."""
    return any(getattr(module, "sparse", False) is True for module in network.modules())


def _plain(parameters: Iterable[nn.Parameter]) -> bool:
    """Ordinary tensors on devices that have the kernels; shards of several processes are none."""
    return all(
        one.device.type in _DEVICES and one.dtype in _DTYPES and one.data.__class__ is torch.Tensor
        for one in parameters
        if one.requires_grad
    )
