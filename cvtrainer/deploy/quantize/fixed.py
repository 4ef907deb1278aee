"""A layer's rounding in fixed numbers: operators that every exporter writes as Q and DQ.

The layer stays the module that it is, under its path; its weight becomes a tensor of levels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

_LOW, _HIGH = -128, 127
_SMALLEST = 1e-8
"""The step of a channel that is always zero."""


def fix_input(layer: nn.Module, amax: float) -> None:
    """Round the first input, zero to zero, so that this is the largest value."""
    layer.register_forward_pre_hook(_Input(amax / _HIGH))


def fix_weight(layer: nn.Module, rounded: Tensor, axis: int) -> None:
    """Let the weight, whose values lie on levels for each place of the axis, be levels."""
    around = [place for place in range(rounded.ndim) if place != axis]
    step = (rounded.abs().amax(around) / _HIGH).clamp(min=_SMALLEST)
    shape = [-1 if place == axis else 1 for place in range(rounded.ndim)]
    levels = (rounded / step.view(shape)).round().to(torch.int8)
    del layer.weight
    layer.register_buffer("weight", levels)
    parametrize.register_parametrization(layer, "weight", _Levels(step, axis), unsafe=True)


class _Input:
    """Before a layer's forward."""

    def __init__(self, step: float) -> None:
        self._step = step

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        known, numbers = _operators(), (self._step, 0, _LOW, _HIGH, torch.int8)
        levels = known.quantize_per_tensor(inputs[0], *numbers)
        return (known.dequantize_per_tensor(levels, *numbers), *inputs[1:])


class _Levels(nn.Module):
    """Floats of levels."""

    step: Tensor
    zeros: Tensor

    def __init__(self, step: Tensor, axis: int) -> None:
        super().__init__()
        self.register_buffer("step", step)
        self.register_buffer("zeros", torch.zeros_like(step, dtype=torch.int64))
        self._axis = axis

    def forward(self, levels: Tensor) -> Tensor:
        made: Tensor = _operators().dequantize_per_channel(
            levels, self.step, self.zeros, self._axis, _LOW, _HIGH, torch.int8
        )
        return made


def _operators() -> Any:
    """Torch knows them when a module of its own has been imported."""
    import torch.ao.quantization.fx._decomposed

    return torch.ops.quantized_decomposed
