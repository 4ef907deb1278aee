"""Fits the first convolution of a ready-made network to images with other than three channels.

How filters are shared out is said in `ops.stem`: a grey image gives the activations that its
three-channel copy would have given. Pretrained weights thus keep their worth.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.ops.stem import fitted_filters


def fit_stem(network: nn.Module, in_channels: int) -> None:
    """Replace the network's first convolution where its channels differ."""
    if in_channels < 1:
        raise UserError(f"{type(network).__name__}: in_channels is {in_channels}; give 1 or more")
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d):
            if layer.in_channels != in_channels:
                network.set_submodule(name, _fitted(layer, in_channels))
            return
    raise UserError(f"{type(network).__name__} has no convolution to fit to {in_channels} channels")


def _fitted(layer: nn.Conv2d, in_channels: int) -> nn.Conv2d:
    form: dict[str, Any] = {
        "kernel_size": layer.kernel_size,
        "stride": layer.stride,
        "padding": layer.padding,
        "padding_mode": layer.padding_mode,
        "dilation": layer.dilation,
        "bias": layer.bias is not None,
    }
    fitted = nn.Conv2d(in_channels, layer.out_channels, **form)
    with torch.no_grad():
        fitted.weight.copy_(fitted_filters(layer.weight, in_channels))
        if layer.bias is not None and fitted.bias is not None:
            fitted.bias.copy_(layer.bias)
    return fitted
