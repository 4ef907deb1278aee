"""The head for numbers: how many, how far, how warm.

Goes with MSELoss, SmoothL1Loss and their kin, and with RegressionMeter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.parts import Head
from cvtrainer.models.pooling import pooled


class Regression(Head):
    """`[N, values]`, or `[N]` for a single value, as its target comes from the collate.

    `mean` and `std` of the targets, one or one per value, are where learning begins: the last layer
    starts with outputs on that scale.
    """

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    def __init__(
        self,
        values: int = 1,
        in_channels: int | None = None,
        dropout: float = 0.0,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
    ) -> None:
        super().__init__()
        if values < 1:
            raise UserError(f"Regression: values is {values}; give 1 or more")
        self.mean = _one_each("mean", mean, values)
        self.std = _one_each("std", std, values)
        self.values = values
        self.dropout = nn.Dropout(dropout)
        if in_channels is not None:
            self.connect(in_channels)

    def make_layers(self, channels: int) -> None:
        self.linear = nn.Linear(channels, self.values)
        with torch.no_grad():
            for row, (mean, std) in enumerate(zip(self.mean, self.std, strict=True)):
                self.linear.weight[row] *= std
                self.linear.bias[row] = self.linear.bias[row] * std + mean

    def forward(self, features: Tensor) -> Tensor:
        made: Tensor = self.linear(self.dropout(pooled(features)))
        return made.squeeze(1) if self.values == 1 else made


def _one_each(name: str, given: float | Sequence[float], values: int) -> list[float]:
    numbers = list(given) if isinstance(given, Sequence) else [given] * values
    if len(numbers) != values:
        raise UserError(f"Regression: {name} has {len(numbers)} numbers for {values} values")
    return [float(number) for number in numbers]
