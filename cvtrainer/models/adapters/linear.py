"""An adapter that pools a map to one vector and changes its channels.

The activation keeps adapter and head from collapsing into one linear layer.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.models.parts import Adapter
from cvtrainer.models.pooling import pooled


class Linear(Adapter):
    """`[N, C, h, w]` or `[N, C]` to `[N, out_channels]`."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    def __init__(self, out_channels: int, in_channels: int | None = None) -> None:
        super().__init__()
        self.out_channels: int = out_channels
        if in_channels is not None:
            self.connect(in_channels)

    def make_layers(self, channels: int) -> None:
        self.linear = nn.Linear(channels, self.out_channels)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        output: Tensor = self.activation(self.linear(pooled(features)))
        return output
