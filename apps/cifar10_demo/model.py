"""The demo's network, written by hand to show what the framework asks of a model: nothing.

Three parts named backbone, adapter and head are a custom of the house; `layerwise` in the config
gives each of them its own learning rate.
"""

from __future__ import annotations

from torch import Tensor, nn


class CIFAR10Model(nn.Module):
    """32x32 RGB pictures to scores, one per class."""

    def __init__(self, num_classes: int = 10, width: int = 16) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            ResidualBlock(width, 2 * width),
            ResidualBlock(2 * width, 4 * width),
        )
        self.adapter = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.adapter(self.backbone(x)))
        return scores


class ResidualBlock(nn.Module):
    """Halves the picture; the way around it keeps the gradient alive."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.around = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 1, stride=2, bias=False),
            nn.BatchNorm2d(channels_out),
        )

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(self.body(x) + self.around(x))
