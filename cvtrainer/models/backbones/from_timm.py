"""Any network of timm as a backbone, by its name.

timm knows for each of its networks how features are pooled (maps, tokens, either layout), so the
pooling stays with the network and the features are vectors. Nothing is downloaded unless
`pretrained` asks for it.
"""

from __future__ import annotations

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.models.parts import Backbone


class TimmBackbone(Backbone):
    """Vectors `[N, out_channels]` from the network of this name."""

    def __init__(self, name: str, in_channels: int = 3, pretrained: bool = False) -> None:
        super().__init__()
        import timm

        refuse_unknown(name)
        network: nn.Module = timm.create_model(
            name, pretrained=pretrained, in_chans=in_channels, num_classes=0
        )
        self.in_channels = in_channels
        self.out_channels = _pooled_channels(network)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.network(x)
        return features


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
