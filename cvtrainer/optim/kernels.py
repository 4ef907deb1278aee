"""Which of torch's implementations of an optimizer computes a step, where the config is silent.

One fused kernel moves all parameters at once: on CPUs in a quarter to a half of the time (figures
in docs/experiments.md), on GPUs without asking the device whether a scaled step overflowed. It goes
through memory as it lies, so weights, gradients and state are kept in one layout.
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


def keep_layouts(optimizer: Optimizer) -> None:
    """For a fused kernel: bring gradients and loaded state into the layout of their weights.

    A state of a run without channels-last, say, would be taken for the wrong elements on a CPU.
    """
    laid_out = [
        parameter
        for group in optimizer.param_groups
        if group.get("fused")
        for parameter in group["params"]
        if parameter.ndim > 1
    ]

    def gradients(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        for parameter in laid_out:
            grad = parameter.grad
            if grad is not None and grad.stride() != parameter.stride():
                parameter.grad = _like(grad, parameter)

    def state(optimizer: Optimizer) -> None:
        for parameter in laid_out:
            for name, value in list(optimizer.state.get(parameter, {}).items()):
                if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                    optimizer.state[parameter][name] = _like(value, parameter)

    if laid_out:
        optimizer.register_step_pre_hook(gradients)
        optimizer.register_load_state_dict_post_hook(state)


def _like(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    if value.stride() == parameter.stride():
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
