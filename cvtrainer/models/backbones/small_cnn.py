"""A small convolutional network for small images.

Every stage is convolutions, each with normalisation and ReLU; each stage after the first halves
the map and doubles the channels. Only operations that every target runs and every quantiser knows.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.blocks import conv_norm_relu
from cvtrainer.models.parts import Backbone


class SmallCNN(Backbone):
    """`depth` stages, from `width` channels to `width * 2 ** (depth - 1)`.

    `repeats` is how many convolutions a stage has; the first stage, which is as large as the image,
    has one.
    """

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    def __init__(
        self, width: int = 16, depth: int = 3, in_channels: int = 3, repeats: int = 1
    ) -> None:
        super().__init__()
        sizes = {"width": width, "depth": depth, "in_channels": in_channels, "repeats": repeats}
        for name, value in sizes.items():
            if value < 1:
                raise UserError(f"SmallCNN: {name} is {value}; give 1 or more")
        widths = [width * 2**stage for stage in range(depth)]
        self.in_channels = in_channels
        self.out_channels = widths[-1]
        self.stages = nn.Sequential(conv_norm_relu(in_channels, width))
        for before, after in pairwise(widths):
            first, further = conv_norm_relu(before, after, stride=2), range(repeats - 1)
            inner = [layer for _ in further for layer in conv_norm_relu(after, after)]
            self.stages.append(nn.Sequential(*first, *inner))

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.stages(x)
        return features
