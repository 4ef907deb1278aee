"""The head for classes along an axis: of every node of a graph, of every point of time."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.parts import Head


class EachPlace(Head):
    """`[N, C, L]` to scores `[N, num_classes, L]`; goes with CrossEntropyLoss."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")
    POOLS: ClassVar[bool] = False

    def __init__(
        self, num_classes: int, in_channels: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"EachPlace: num_classes is {num_classes}; give 1 or more")
        self.num_classes = num_classes
        self.dropout = nn.Dropout(dropout)
        if in_channels is not None:
            self.connect(in_channels)

    def make_layers(self, channels: int) -> None:
        self.score = nn.Conv1d(channels, self.num_classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim != 3:
            raise UserError(
                f"EachPlace takes features [N, C, L] and is given {list(features.shape)}",
                todo="Say pooling: none at the backbone.",
            )
        scores: Tensor = self.score(self.dropout(features))
        return scores
