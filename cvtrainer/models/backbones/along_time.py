"""Convolutions along one axis: what series and texts have in common.

Residual stages of convolution, normalisation, ReLU; each stage after the first halves the length
and doubles the channels. What is padded stays zero after every layer, so a sample's features do
not depend on its neighbours in the batch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.parts import Backbone
from cvtrainer.ops.padding import real_max, real_mean, without_padding

Pooling = Literal["mean", "max", "both", "none"]
POOLINGS = ("mean", "max", "both", "none")


class AlongTime(Backbone):
    """`[N, C, L]` to `[N, out_channels]`, or to `[N, out_channels, l]` with `pooling: none`."""

    def __init__(
        self, width: int, depth: int, kernel_size: int, pooling: Pooling, halve: bool = True
    ) -> None:
        super().__init__()
        who = type(self).__name__
        if width < 1 or depth < 1:
            raise UserError(f"{who}: width is {width}, depth {depth}; give 1 or more")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise UserError(f"{who}: kernel_size is {kernel_size}; give an odd number")
        if pooling not in POOLINGS:
            raise UserError(f"{who}: pooling is {pooling!r}; it can be {', '.join(POOLINGS)}")
        self.pooling = pooling
        self._form = (width, depth, kernel_size, halve)
        last = width * 2 ** (depth - 1) if halve else width
        self.out_channels = last * 2 if pooling == "both" else last

    def make_stages(self, in_channels: int) -> None:
        """The layers, for values of so many channels."""
        width, depth, kernel_size, halve = self._form
        widths = [width * 2**stage if halve else width for stage in range(depth)]
        self.stages = nn.ModuleList(
            _Stage(before, after, kernel_size, 2 if halve and place else 1)
            for place, (before, after) in enumerate(
                zip([in_channels, *widths], widths, strict=False)
            )
        )

    def along(self, values: Tensor, padding: Tensor | None) -> Tensor:
        """Features of values `[N, C, L]` beside their padding `[N, L]`."""
        values = without_padding(values, padding)
        for stage in self.stages:
            values, padding = stage(values, padding)
        if self.pooling == "none":
            return values
        made = [real_mean(values, padding)] if self.pooling in ("mean", "both") else []
        if self.pooling in ("max", "both"):
            made.append(real_max(values, padding))
        return torch.cat(made, dim=1) if len(made) > 1 else made[0]


class _Stage(nn.Module):
    """One convolution that may halve the length, and one whose result is added."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        around = kernel_size // 2
        self.enter = nn.Conv1d(
            in_channels, out_channels, kernel_size, stride=stride, padding=around, bias=False
        )
        self.enter_norm = nn.BatchNorm1d(out_channels)
        self.step = nn.Conv1d(out_channels, out_channels, kernel_size, padding=around, bias=False)
        self.step_norm = nn.BatchNorm1d(out_channels)
        self.active = nn.ReLU()

    def forward(self, values: Tensor, padding: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if padding is not None and self.stride > 1:
            padding = padding[:, :: self.stride]
        values = self.active(self.enter_norm(self.enter(values)))
        values = without_padding(values, padding)
        values = self.active(values + self.step_norm(self.step(values)))
        return without_padding(values, padding), padding
