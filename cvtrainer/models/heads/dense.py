"""Heads that keep the place: a class for each pixel, a heat map for each keypoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.models.blocks import conv_norm_relu
from cvtrainer.models.parts import Pyramid, PyramidHead


class _OnFinest(PyramidHead):
    """A convolution and one score per channel, on the finest map."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    def __init__(self, channels: int, width: int | None, argument: str) -> None:
        super().__init__()
        if channels < 1:
            raise UserError(f"{type(self).__name__}: {argument} is {channels}; give 1 or more")
        self.channels = channels
        self.width = width

    def make_layers(self, pyramid: Pyramid) -> None:
        width = self.width or pyramid.channels[0]
        self.stride = pyramid.strides[0]
        self.layers = nn.Sequential(
            conv_norm_relu(pyramid.channels[0], width), nn.Conv2d(width, self.channels, 1)
        )


class MaskHead(_OnFinest):
    """Scores `[N, num_classes, H, W]` at the size of the input, from the finest map."""

    takes_size: ClassVar[bool] = True

    def __init__(self, num_classes: int, width: int | None = None) -> None:
        super().__init__(num_classes, width, "num_classes")

    def forward(self, maps: Sequence[Tensor], size: Sequence[int] | None = None) -> Tensor:
        """Without the input's size: that of the map times its stride."""
        return enlarged(self.layers(maps[0]), self.stride, size)


def enlarged(scores: Tensor, stride: int, size: Sequence[int] | None) -> Tensor:
    """By the stride, and cut to the input's size, which need be no multiple of it.

    Stretching to the size instead would move what stands at the far edges.
    """
    if stride > 1:
        scores = functional.interpolate(
            scores, scale_factor=float(stride), mode="bilinear", align_corners=False
        )
    return scores if size is None else scores[..., : size[0], : size[1]]


class HeatmapHead(_OnFinest):
    """Heat maps `[N, keypoints, h, w]` at the stride of the finest map."""

    def __init__(self, keypoints: int, width: int | None = None) -> None:
        super().__init__(keypoints, width, "keypoints")

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        heat: Tensor = self.layers(maps[0])
        return heat
