"""The adapter that changes nothing.

It hands the backbone's channels on to the head. It has no parameters, so a learning rate for the
adapter has nothing to act on with it.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from cvtrainer.models.parts import Adapter, Pyramid


class Identity(Adapter):
    """Features as they are."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    pyramid: Pyramid | None = None

    def __init__(self, in_channels: int | None = None) -> None:
        super().__init__()
        if in_channels is not None:
            self.connect(in_channels)

    def make_layers(self, channels: int) -> None:
        self.out_channels = channels

    def forward(self, features: Tensor) -> Tensor:
        return features
