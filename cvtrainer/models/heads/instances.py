"""A head for objects with masks: a detector's outputs, and what their masks are put together from.

The finest map makes prototypes, the same for all objects of a picture; each place of the detector
says how much of each prototype the mask of its object has. So masks cost one product, and stay a
part of an exported graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.blocks import conv_norm_relu
from cvtrainer.models.heads.dense import enlarged
from cvtrainer.models.heads.detector import DetectionHead
from cvtrainer.models.parts import Pyramid, PyramidHead


class InstanceHead(PyramidHead):
    """Beside a detector's outputs `prototypes` `[N, P, h, w]`, `coefficients` `[N, A, P]`, and
    `inside` `[N, 1, H, W]`: scores of being part of any object, at the size of the input.

    The finest of several maps makes the masks and the others find the objects; a single map does
    both.
    """

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    takes_size: ClassVar[bool] = True

    def __init__(
        self,
        num_classes: int,
        width: int | None = None,
        depth: int = 2,
        bins: int = 16,
        prototypes: int = 16,
    ) -> None:
        super().__init__()
        if prototypes < 1:
            raise UserError(f"InstanceHead: prototypes is {prototypes}; give 1 or more")
        self.width = width
        self.prototypes = prototypes
        self.detector = DetectionHead(num_classes, width, depth, bins)

    def make_layers(self, pyramid: Pyramid) -> None:
        finest = pyramid.channels[0]
        width = self.width or finest
        self.stride = pyramid.strides[0]
        coarser = slice(1, None) if len(pyramid.strides) > 1 else slice(None)
        searched = Pyramid(pyramid.channels[coarser], pyramid.strides[coarser])
        self.detector.connect(searched)
        self.shape = nn.Sequential(conv_norm_relu(finest, width), conv_norm_relu(width, width))
        self.prototype = nn.Conv2d(width, self.prototypes, 1)
        self.inner = nn.Conv2d(width, 1, 1)
        self.mix = nn.ModuleList(
            nn.Sequential(conv_norm_relu(one, width), nn.Conv2d(width, self.prototypes, 1))
            for one in searched.channels
        )

    def forward(
        self, maps: Sequence[Tensor], size: Sequence[int] | None = None
    ) -> dict[str, Tensor]:
        searched = maps[-len(self.mix) :]
        shapes = self.shape(maps[0])
        mixed = [layer(one).flatten(2) for layer, one in zip(self.mix, searched, strict=True)]
        found: dict[str, Tensor] = self.detector(searched)
        return {
            **found,
            "coefficients": torch.cat(mixed, dim=2).transpose(1, 2),
            "prototypes": self.prototype(shapes),
            "inside": enlarged(self.inner(shapes), self.stride, size),
        }
