"""A network small enough for any board: backbone, adapter and head, about 18,000 parameters."""

from __future__ import annotations

from torch import Tensor, nn


class DigitNet(nn.Module):
    """Grey 16x16 pictures to scores, one per class."""

    def __init__(self, num_classes: int, width: int = 24) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            convolution(1, width, stride=1),
            convolution(width, width, stride=2),
            convolution(width, 2 * width, stride=2),
        )
        self.adapter = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(4 * 2 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.adapter(self.backbone(x)))
        return scores


def convolution(channels_in: int, channels_out: int, *, stride: int) -> nn.Sequential:
    """A 3x3 convolution with its normalisation and activation."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )
