"""Maps of several sizes from any network of timm that can give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.backbones.from_timm import refuse_unknown
from cvtrainer.models.parts import Backbone, Pyramid


class TimmPyramid(Backbone):
    """The maps at the strides of `taps`, from the finest to the coarsest."""

    def __init__(
        self,
        name: str,
        taps: Sequence[int] = (8, 16, 32),
        in_channels: int = 3,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        import timm

        refuse_unknown(name)
        strides, channels = _levels(name, in_channels)
        missing = [tap for tap in taps if tap not in strides]
        if missing or not taps or list(taps) != sorted(set(taps)):
            raise UserError(
                f"TimmPyramid: taps is {list(taps)} and {name} has maps at {strides}",
                todo="Give strides of these, from the finest to the coarsest.",
            )
        places = [strides.index(tap) for tap in taps]
        self.network: nn.Module = timm.create_model(
            name,
            pretrained=pretrained,
            in_chans=in_channels,
            features_only=True,
            out_indices=places,
        )
        self.in_channels = in_channels
        self.pyramid = Pyramid(tuple(channels[place] for place in places), tuple(taps))
        self.out_channels = self.pyramid.channels[-1]

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.network(x))


def _levels(name: str, in_channels: int) -> tuple[list[int], list[int]]:
    """Strides and channels of all maps that the network has."""
    import timm

    try:
        whole = timm.create_model(name, features_only=True, in_chans=in_channels)
    except (RuntimeError, TypeError, AttributeError, AssertionError) as error:
        raise UserError(
            f"timm's {name} gives no maps of several sizes",
            todo="Use a convolutional network, such as mobilenetv3_small_100.",
        ) from error
    told: Any = whole.feature_info
    return list(told.reduction()), list(told.channels())
