"""Any classification network of torchvision as a backbone, by its name.

The network keeps its own pooling; only its last layer, which makes the scores, is taken off. The
features are therefore vectors. Nothing is downloaded unless `pretrained` asks for it, or `weights`
names some.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.models.backbones.published import take_published
from cvtrainer.models.backbones.published_input import PublishedInput, input_of_torchvision
from cvtrainer.models.backbones.stem import fit_stem
from cvtrainer.models.backbones.torchvision_network import library_network, published_network
from cvtrainer.models.parts import Backbone

_CLASSIFIERS = ("fc", "classifier", "head", "heads")
_WITH_SIDE_OUTPUTS = ("googlenet", "inception_v3")


class TorchvisionBackbone(Backbone):
    """Vectors `[N, out_channels]` from the network of this name."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "compilable")
    ASKS_BY: ClassVar[tuple[str, ...]] = ("pretrained", "weights")

    def __init__(
        self,
        name: str,
        weights: str | None = None,
        in_channels: int = 3,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        network = classification_network(name)
        fit_stem(network, in_channels)
        self.name = name
        self.in_channels = in_channels
        self.out_channels = _take_off_classifier(network, name)
        self.network = network
        if pretrained or weights:
            take_published(self, weights)

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.network(x)
        return features

    def library_names(self) -> Mapping[str, str]:
        """torchvision's name of each weight: ours."""
        return {name: f"network.{name}" for name in self.network.state_dict()}

    def published_weights(self, which: str | None = None) -> Mapping[str, Tensor]:
        """The weights of that name (torchvision's best where none is given), under its names."""
        return published_classifier(self.name, which)

    def published_input(self, which: str | None = None) -> PublishedInput | None:
        """The pictures they were trained on."""
        return input_of_torchvision(self.name, which)


def classification_network(name: str) -> nn.Module:
    """The network as torchvision makes it, with side outputs (for training only) left out."""
    return library_network(name, "classification", **_arguments(name))


def published_classifier(name: str, which: str | None) -> Mapping[str, Tensor]:
    """All weights of the network, its classifier's too."""
    return published_network(name, which, **_arguments(name))


def _arguments(name: str) -> dict[str, bool]:
    return {"aux_logits": False, "init_weights": True} if name in _WITH_SIDE_OUTPUTS else {}


def _take_off_classifier(network: nn.Module, name: str) -> int:
    """Replace the layer that makes the scores; tells how many channels it was given."""
    found: tuple[str, int] | None = None
    for path, layer in network.named_modules():
        if path.split(".")[0] in _CLASSIFIERS:
            if isinstance(layer, nn.Linear):
                found = (path, layer.in_features)
            elif isinstance(layer, nn.Conv2d):
                found = (path, layer.in_channels)
    if found is None:
        raise UserError(f"torchvision's {name} has no classifier that could be taken off")
    network.set_submodule(found[0], nn.Identity())
    return found[1]
