"""The head for numbers: how many, how far, how warm.

Goes with MSELoss, SmoothL1Loss and their kin, and with RegressionMeter.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.parts import Head
from cvtrainer.models.pooling import pooled


class Regression(Head):
    """`[N, values]`, or `[N]` for a single value, as its target comes from the collate."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    def __init__(
        self, values: int = 1, in_channels: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if values < 1:
            raise UserError(f"Regression: values is {values}; give 1 or more")
        self.values = values
        self.dropout = nn.Dropout(dropout)
        if in_channels is not None:
            self.connect(in_channels)

    def make_layers(self, channels: int) -> None:
        self.linear = nn.Linear(channels, self.values)

    def forward(self, features: Tensor) -> Tensor:
        made: Tensor = self.linear(self.dropout(pooled(features)))
        return made.squeeze(1) if self.values == 1 else made
