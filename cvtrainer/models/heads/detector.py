"""A head without anchor boxes: at each place a score per class and the distances to four edges.

The two branches share their weights over all map sizes and have statistics of their own for each.
A distance is a distribution over whole steps, of which the mean counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.parts import Pyramid, PyramidHead
from cvtrainer.ops.boxes import anchor_points

_RARE = 0.01
"""How likely an object is at a place before anything is learnt."""
_FALL = 0.3
"""How much less likely each further step is then: boxes begin about six steps wide, not fifteen."""


class DetectionHead(PyramidHead):
    """`scores` `[N, A, C]`, `distances` `[N, A, 4 * bins]`, `anchors` `[A, 3]`: x, y, stride."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    def __init__(
        self, num_classes: int, width: int | None = None, depth: int = 2, bins: int = 16
    ) -> None:
        super().__init__()
        if num_classes < 1 or depth < 1 or bins < 2:
            raise UserError(
                f"DetectionHead: num_classes is {num_classes}, depth {depth}, bins {bins}; "
                "give 1 or more, 1 or more, 2 or more"
            )
        self.num_classes = num_classes
        self.width = width
        self.depth = depth
        self.bins = bins

    def make_layers(self, pyramid: Pyramid) -> None:
        if len(set(pyramid.channels)) > 1:
            raise UserError(
                f"DetectionHead takes maps of equal channels and is given {pyramid.channels}",
                todo="Put an adapter such as {type: pan, out_channels: 64} before it.",
            )
        channels = pyramid.channels[0]
        width = self.width or channels
        self.strides = pyramid.strides
        levels = len(pyramid.strides)
        self.classify = _Branch(channels, width, self.depth, levels)
        self.locate = _Branch(channels, width, self.depth, levels)
        self.score = nn.Conv2d(width, self.num_classes, 1)
        self.distance = nn.Conv2d(width, 4 * self.bins, 1)
        assert self.score.bias is not None
        nn.init.constant_(self.score.bias, -math.log((1 - _RARE) / _RARE))
        assert self.distance.bias is not None
        with torch.no_grad():
            self.distance.bias.copy_((-_FALL * torch.arange(float(self.bins))).repeat(4))

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        scores, distances, anchors = [], [], []
        for level, (one, stride) in enumerate(zip(maps, self.strides, strict=True)):
            scores.append(self.score(self.classify(one, level)).flatten(2))
            distances.append(self.distance(self.locate(one, level)).flatten(2))
            anchors.append(anchor_points(one, stride))
        return {
            "scores": torch.cat(scores, dim=2).transpose(1, 2),
            "distances": torch.cat(distances, dim=2).transpose(1, 2),
            "anchors": torch.cat(anchors),
        }


class _Branch(nn.Module):
    """Convolutions that all sizes share, each size with its own normalisation."""

    def __init__(self, channels: int, width: int, depth: int, levels: int) -> None:
        super().__init__()
        widths = [channels] + [width] * depth
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1, bias=False) for before, after in pairwise(widths)
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(width) for _ in range(levels)) for _ in range(depth)
        )
        self.active = nn.ReLU(inplace=True)

    def forward(self, features: Tensor, level: int) -> Tensor:
        for convolution, norms in zip(self.convolutions, self.norms, strict=True):
            norm = norms[level]  # type: ignore[index]
            features = self.active(norm(convolution(features)))
        return features
