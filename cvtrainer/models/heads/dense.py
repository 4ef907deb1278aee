"""Heads that keep the place: a class for each pixel, a heat map for each keypoint."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.models.blocks import conv_norm_relu
from cvtrainer.models.parts import Pyramid, PyramidHead


class MaskHead(PyramidHead):
    """Scores `[N, num_classes, H, W]` at the size of the input, from the finest map."""

    def __init__(self, num_classes: int, width: int | None = None) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"MaskHead: num_classes is {num_classes}; give 1 or more")
        self.num_classes = num_classes
        self.width = width

    def make_layers(self, pyramid: Pyramid) -> None:
        width = self.width or pyramid.channels[0]
        self.stride = pyramid.strides[0]
        self.layers = nn.Sequential(
            conv_norm_relu(pyramid.channels[0], width), nn.Conv2d(width, self.num_classes, 1)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        scores: Tensor = self.layers(maps[0])
        return functional.interpolate(
            scores, scale_factor=float(self.stride), mode="bilinear", align_corners=False
        )


class HeatmapHead(PyramidHead):
    """Heat maps `[N, keypoints, h, w]` at the stride of the finest map."""

    def __init__(self, keypoints: int, width: int | None = None) -> None:
        super().__init__()
        if keypoints < 1:
            raise UserError(f"HeatmapHead: keypoints is {keypoints}; give 1 or more")
        self.keypoints = keypoints
        self.width = width

    def make_layers(self, pyramid: Pyramid) -> None:
        width = self.width or pyramid.channels[0]
        self.layers = nn.Sequential(
            conv_norm_relu(pyramid.channels[0], width), nn.Conv2d(width, self.keypoints, 1)
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        heat: Tensor = self.layers(maps[0])
        return heat
