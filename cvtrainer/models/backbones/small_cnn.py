"""A small convolutional network for small images.

Every stage is convolution, normalisation, ReLU; each stage after the first halves the map and
doubles the channels. Only operations that every target runs and every quantiser knows.
"""

from __future__ import annotations

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.parts import Backbone


class SmallCNN(Backbone):
    """`depth` stages, from `width` channels to `width * 2 ** (depth - 1)`."""

    def __init__(self, width: int = 16, depth: int = 3, in_channels: int = 3) -> None:
        super().__init__()
        for name, value in (("width", width), ("depth", depth), ("in_channels", in_channels)):
            if value < 1:
                raise UserError(f"SmallCNN: {name} is {value}; give 1 or more")
        widths = [width * 2**stage for stage in range(depth)]
        self.in_channels = in_channels
        self.out_channels = widths[-1]
        self.stages = nn.Sequential(
            *(
                _stage(before, after, stride=1 if place == 0 else 2)
                for place, (before, after) in enumerate(
                    zip([in_channels, *widths], widths, strict=False)
                )
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.stages(x)
        return features


def _stage(in_channels: int, out_channels: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
