"""Time series to features: residual convolutions along time."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.backbones.along_time import AlongTime, Pooling


class SeriesNet(AlongTime):
    """`[N, T, in_channels]`, as the series data sets give them; `depth` stages from `width` on.

    Each channel is first brought to the spread that it has in training.
    """

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    def __init__(
        self,
        in_channels: int = 1,
        width: int = 32,
        depth: int = 3,
        kernel_size: int = 5,
        pooling: Pooling = "mean",
    ) -> None:
        super().__init__(width, depth, kernel_size, pooling)
        if in_channels < 1:
            raise UserError(f"SeriesNet: in_channels is {in_channels}; give 1 or more")
        self.in_channels = in_channels
        self.scale = nn.BatchNorm1d(in_channels)
        self.make_stages(in_channels)

    def forward(self, x: Tensor, x_padding: Tensor | None = None) -> Tensor:
        if x.ndim != 3 or x.shape[2] != self.in_channels:
            raise UserError(
                f"SeriesNet takes series [N, T, {self.in_channels}] and is given {list(x.shape)}",
                todo="Set in_channels to the values at each point of time.",
            )
        return self.along(self.scale(x.transpose(1, 2)), x_padding)
