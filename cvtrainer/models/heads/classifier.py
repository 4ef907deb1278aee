"""Pooling, dropout and one linear layer: what heads for classes have in common.

How scores become probabilities is what tells the heads apart, and stands in their own files.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.parts import Head
from cvtrainer.models.pooling import pooled


class Classifier(Head):
    """`[N, C, h, w]` or `[N, C]` to scores `[N, num_classes]`."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    def __init__(
        self, num_classes: int, in_channels: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"{type(self).__name__}: num_classes is {num_classes}; give 1 or more")
        self.num_classes = num_classes
        self.dropout = nn.Dropout(dropout)
        if in_channels is not None:
            self.connect(in_channels)

    def make_layers(self, channels: int) -> None:
        self.linear = nn.Linear(channels, self.num_classes)

    def forward(self, features: Tensor) -> Tensor:
        scores: Tensor = self.linear(self.dropout(pooled(features)))
        return scores
