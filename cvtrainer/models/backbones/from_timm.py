"""Any network of timm as a backbone, by its name.

timm knows for each of its networks how features are pooled (maps, tokens, either layout), so the
pooling stays with the network and the features are vectors. Nothing is downloaded unless
`pretrained` asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.models.backbones.published import take_published, timm_weights
from cvtrainer.models.backbones.published_input import PublishedInput, input_of_timm
from cvtrainer.models.parts import Backbone


class TimmBackbone(Backbone):
    """Vectors `[N, out_channels]` from the network of this name."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "compilable")
    ASKS_BY: ClassVar[tuple[str, ...]] = ("pretrained",)

    def __init__(self, name: str, in_channels: int = 3, pretrained: bool = False) -> None:
        super().__init__()
        import timm

        refuse_unknown(name)
        if in_channels < 1:
            raise UserError(f"TimmBackbone: in_channels is {in_channels}; give 1 or more")
        network: nn.Module = timm.create_model(name, in_chans=in_channels, num_classes=0)
        self.name = name
        self.in_channels = in_channels
        self.out_channels = _pooled_channels(network)
        self.network = network
        if pretrained:
            take_published(self)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.network(x)
        return features

    def library_names(self) -> Mapping[str, str]:
        """timm's name of each weight: ours."""
        return {name: f"network.{name}" for name in self.network.state_dict()}

    def published_weights(self, which: str | None = None) -> Mapping[str, Tensor]:
        """The weights that timm has for this network, under its names."""
        import timm

        def make(*, pretrained: bool) -> nn.Module:
            network: nn.Module = timm.create_model(self.name, pretrained=pretrained, num_classes=0)
            return network

        return timm_weights(self.name, make)

    def published_input(self, which: str | None = None) -> PublishedInput | None:
        """The pictures they were trained on."""
        return input_of_timm(self.name)


def refuse_unknown(name: str) -> None:
    """An error with a suggestion where timm has no network of that name."""
    import timm

    if ":" not in name and not timm.is_model(name):
        near = nearest(name.split(".")[0], timm.list_models())
        raise UserError(
            f"timm has no network {name!r}",
            todo=f"Did you mean {near}?" if near else "timm.list_models() tells all names.",
        )


def _pooled_channels(network: nn.Module) -> int:
    """Channels after pooling; some networks widen them there."""
    widened = getattr(network, "head_hidden_size", None)
    channels = widened if widened is not None else network.num_features
    return int(channels)  # type: ignore[arg-type]
