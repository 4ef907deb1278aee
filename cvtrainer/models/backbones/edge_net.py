"""Our own small family: plain residual convolutions, scaled by width and depth.

No depthwise layers and no activations but ReLU: they quantise without surprises and run fast where
a board has ordinary convolutions in hardware. `taps` gives the maps at those strides, for detection
and segmentation; without them the last map is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.blocks import Residual, conv_norm_relu, whole_channels
from cvtrainer.models.parts import Backbone, Pyramid

_WIDTHS = (16, 32, 64, 128, 192)
_DEPTHS = (0, 1, 2, 2, 1)
STRIDES = (2, 4, 8, 16, 32)


class EdgeNet(Backbone):
    """Stages at strides 2 to 32; about one million parameters at a width of 1."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")

    def __init__(
        self,
        width: float = 1.0,
        depth: float = 1.0,
        in_channels: int = 3,
        taps: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if width <= 0 or depth < 0 or in_channels < 1:
            raise UserError(
                f"EdgeNet: width is {width}, depth {depth}, in_channels {in_channels}; "
                "give more than 0, 0 or more, and 1 or more"
            )
        wrong = [tap for tap in taps if tap not in STRIDES]
        if wrong or list(taps) != sorted(set(taps)):
            raise UserError(
                f"EdgeNet: taps is {list(taps)}; give strides of {list(STRIDES)}, from the "
                "finest to the coarsest"
            )
        channels = [whole_channels(width * one) for one in _WIDTHS]
        last = STRIDES.index(taps[-1]) if taps else len(STRIDES) - 1
        self.in_channels = in_channels
        self.out_channels = channels[last]
        self.stages = nn.ModuleList(
            nn.Sequential(
                conv_norm_relu(before, after, stride=2),
                *(Residual(after) for _ in range(round(depth * blocks))),
            )
            for before, after, blocks in zip(
                [in_channels, *channels], channels[: last + 1], _DEPTHS, strict=False
            )
        )
        self._tapped = [STRIDES.index(tap) for tap in taps]
        if taps:
            self.pyramid = Pyramid(tuple(channels[place] for place in self._tapped), tuple(taps))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return [maps[place] for place in self._tapped] if self._tapped else x
