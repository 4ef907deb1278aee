"""Maps of several sizes from any network of timm that can give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.backbones.from_timm import refuse_unknown
from cvtrainer.models.backbones.published import take_published, timm_weights
from cvtrainer.models.backbones.published_input import PublishedInput, input_of_timm
from cvtrainer.models.parts import Backbone, Pyramid


class TimmPyramid(Backbone):
    """The maps at the strides of `taps`, from the finest to the coarsest."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "compilable")
    ASKS_BY: ClassVar[tuple[str, ...]] = ("pretrained",)

    def __init__(
        self,
        name: str,
        taps: Sequence[int] = (8, 16, 32),
        in_channels: int = 3,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        refuse_unknown(name)
        strides, channels = _levels(name, in_channels)
        missing = [tap for tap in taps if tap not in strides]
        if missing or not taps or list(taps) != sorted(set(taps)):
            raise UserError(
                f"TimmPyramid: taps is {list(taps)} and {name} has maps at {strides}",
                todo="Give strides of these, from the finest to the coarsest.",
            )
        self.name = name
        self.in_channels = in_channels
        self._places = [strides.index(tap) for tap in taps]
        self.network = self._made(pretrained=False)
        self._channels_last = str(getattr(self.network, "output_fmt", "")).endswith("NHWC")
        self.pyramid = Pyramid(tuple(channels[place] for place in self._places), tuple(taps))
        self.out_channels = self.pyramid.channels[-1]
        if pretrained:
            take_published(self)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps: list[Tensor] = self.network(x)
        return [one.permute(0, 3, 1, 2) for one in maps] if self._channels_last else list(maps)

    def library_names(self) -> Mapping[str, str]:
        """timm's name of each weight: ours; where it took levels apart, `stages_0` was `stages.0`.

        An underscore may also be one of the name's own, so both spellings lead here.
        """
        names: dict[str, str] = {}
        for name in self.network.state_dict():
            first, dot, rest = name.partition(".")
            for place, letter in enumerate(first):
                if letter == "_":
                    names[f"{first[:place]}.{first[place + 1 :]}{dot}{rest}"] = f"network.{name}"
        return names | {name: f"network.{name}" for name in self.network.state_dict()}

    def published_weights(self, which: str | None = None) -> Mapping[str, Tensor]:
        """The weights that timm has for these levels."""
        return timm_weights(self.name, lambda pretrained: self._made(pretrained, in_channels=3))

    def published_input(self, which: str | None = None) -> PublishedInput | None:
        """The pictures they were trained on."""
        return input_of_timm(self.name)

    def _made(self, pretrained: bool, in_channels: int | None = None) -> nn.Module:
        import timm

        network: nn.Module = timm.create_model(
            self.name,
            pretrained=pretrained,
            in_chans=self.in_channels if in_channels is None else in_channels,
            features_only=True,
            out_indices=self._places,
        )
        return network


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
