"""How maps of several sizes tell each other what they see.

FPN goes from the coarsest map to the finest; PAN goes back again; the U-Net decoder goes to the
finest map alone and keeps only that. Enlarging repeats places, which is exact on every target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.models.blocks import Residual, conv_norm_relu
from cvtrainer.models.parts import Pyramid, PyramidAdapter


class FPN(PyramidAdapter):
    """All maps with `out_channels`, each with what the coarser ones know."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    def __init__(self, out_channels: int = 64) -> None:
        super().__init__()
        if out_channels < 1:
            raise UserError(
                f"{type(self).__name__}: out_channels is {out_channels}; give 1 or more"
            )
        self.out_channels = out_channels

    def make_layers(self, pyramid: Pyramid) -> None:
        width = self.out_channels
        self.lateral = nn.ModuleList(conv_norm_relu(one, width, 1) for one in pyramid.channels)
        self.down = nn.ModuleList(Residual(width) for _ in pyramid.channels[:-1])
        self.pyramid = Pyramid((width,) * len(pyramid.channels), pyramid.strides)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        levels = [layer(one) for layer, one in zip(self.lateral, maps, strict=True)]
        for place in range(len(levels) - 2, -1, -1):
            coarser = _enlarged(levels[place + 1], levels[place])
            levels[place] = self.down[place](levels[place] + coarser)
        return levels


class PAN(FPN):
    """An FPN whose maps are told once more, from the finest to the coarsest."""

    def make_layers(self, pyramid: Pyramid) -> None:
        super().make_layers(pyramid)
        width = self.out_channels
        self.shrink = nn.ModuleList(
            conv_norm_relu(width, width, stride=2) for _ in pyramid.channels[:-1]
        )
        self.up = nn.ModuleList(Residual(width) for _ in pyramid.channels[:-1])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        levels = super().forward(maps)
        for place in range(1, len(levels)):
            finer = self.shrink[place - 1](levels[place - 1])
            levels[place] = self.up[place - 1](levels[place] + finer)
        return levels


class UNetDecoder(PyramidAdapter):
    """The finest map with `out_channels`, made from all: enlarge, join, two convolutions a step."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    def __init__(self, out_channels: int = 32) -> None:
        super().__init__()
        if out_channels < 1:
            raise UserError(f"UNetDecoder: out_channels is {out_channels}; give 1 or more")
        self.out_channels = out_channels

    def make_layers(self, pyramid: Pyramid) -> None:
        steps: list[nn.Module] = []
        above = pyramid.channels[-1]
        for place in range(len(pyramid.channels) - 2, -1, -1):
            finer = pyramid.channels[place]
            width = self.out_channels if place == 0 else max(self.out_channels, finer)
            steps.append(
                nn.Sequential(conv_norm_relu(above + finer, width), conv_norm_relu(width, width))
            )
            above = width
        self.steps = nn.ModuleList(steps)
        self.pyramid = Pyramid((above,), pyramid.strides[:1])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        deep = maps[-1]
        for step, finer in zip(self.steps, reversed(maps[:-1]), strict=True):
            deep = step(torch.cat((_enlarged(deep, finer), finer), dim=1))
        return [deep]


def _enlarged(coarse: Tensor, like: Tensor) -> Tensor:
    """As large as the finer map, which need not be exactly twice as large."""
    return functional.interpolate(coarse, size=like.shape[-2:], mode="nearest")
