"""What our networks are built of: convolutions that every target runs and every quantiser folds."""

from __future__ import annotations

from torch import Tensor, nn


def conv_norm_relu(
    in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1
) -> nn.Sequential:
    """Convolution, BatchNorm, ReLU; the map keeps its size but for the stride."""
    return nn.Sequential(
        nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=kernel_size // 2,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """A step through half of the channels and back, added to what came."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.layers = nn.Sequential(
            conv_norm_relu(channels, inner), conv_norm_relu(inner, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        stepped: Tensor = x + self.layers(x)
        return stepped


def whole_channels(channels: float) -> int:
    """A multiple of 8, as devices like it."""
    return max(8, int(channels / 8 + 0.5) * 8)
