"""Any classification network of torchvision as a backbone, by its name.

The network keeps its own pooling; only its last layer, which makes the scores, is taken off. The
features are therefore vectors. Nothing is downloaded unless `weights` names some.
"""

from __future__ import annotations

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.models.backbones.stem import fit_stem
from cvtrainer.models.parts import Backbone

_CLASSIFIERS = ("fc", "classifier", "head", "heads")
_WITH_SIDE_OUTPUTS = ("googlenet", "inception_v3")


class TorchvisionBackbone(Backbone):
    """Vectors `[N, out_channels]` from the network of this name."""

    def __init__(self, name: str, weights: str | None = None, in_channels: int = 3) -> None:
        super().__init__()
        network = classification_network(name, weights)
        if in_channels != 3:
            fit_stem(network, in_channels)
        self.in_channels = in_channels
        self.out_channels = _take_off_classifier(network, name)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.network(x)
        return features


def classification_network(name: str, weights: str | None) -> nn.Module:
    """The network as torchvision makes it, with side outputs (for training only) left out."""
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        near = nearest(name, known)
        raise UserError(
            f"torchvision has no classification network {name!r}",
            todo=f"Did you mean {near}?" if near else f"It has {', '.join(known)}.",
        )
    extra = {"aux_logits": False, "init_weights": True} if name in _WITH_SIDE_OUTPUTS else {}
    try:
        network: nn.Module = models.get_model(name, weights=weights, **extra)
    except (KeyError, ValueError) as error:
        raise UserError(f"torchvision has no weights {weights!r} for {name}") from error
    return network


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
