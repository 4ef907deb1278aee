"""An adapter that mixes channels at every place of a map: convolution, normalisation, ReLU.

The map keeps its size. Vectors count as maps of one place, so the adapter also fits behind
backbones that pool by themselves.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.parts import Adapter


class Conv(Adapter):
    """`[N, C, h, w]` to `[N, out_channels, h, w]`."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    def __init__(
        self, out_channels: int, in_channels: int | None = None, kernel_size: int = 1
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise UserError(f"Conv: kernel_size is {kernel_size}; give an odd number")
        self.out_channels: int = out_channels
        self.kernel_size = kernel_size
        if in_channels is not None:
            self.connect(in_channels)

    def make_layers(self, channels: int) -> None:
        self.layers = nn.Sequential(
            nn.Conv2d(
                channels,
                self.out_channels,
                self.kernel_size,
                padding=self.kernel_size // 2,
                bias=False,
            ),
            nn.BatchNorm2d(self.out_channels),
            nn.ReLU(inplace=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim == 2:
            mapped: Tensor = self.layers(features[:, :, None, None])
            return mapped.flatten(1)
        output: Tensor = self.layers(features)
        return output
