"""torchvision's networks for semantic segmentation, as they are but for their outputs' names.

Nothing is downloaded unless `pretrained` asks for it, or `weights` names some.
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

_WITHOUT_AUXILIARY = "lraspp"


class TorchvisionSegmenter(nn.Module):
    """`output`, scores `[N, num_classes, H, W]`; with `auxiliary` also those of an earlier map."""

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "compilable")
    ASKS_BY: ClassVar[tuple[str, ...]] = ("pretrained", "weights")

    def __init__(
        self,
        name: str,
        num_classes: int,
        in_channels: int = 3,
        auxiliary: bool = False,
        weights: str | None = None,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"TorchvisionSegmenter: num_classes is {num_classes}; give 1 or more")
        plain = name.startswith(_WITHOUT_AUXILIARY)
        if plain and auxiliary:
            raise UserError(f"torchvision's {name} has no auxiliary output")
        extra = {} if plain else {"aux_loss": auxiliary}
        network = library_network(name, "segmentation", num_classes=num_classes, **extra)
        fit_stem(network, in_channels)
        self.name = name
        self.in_channels = in_channels
        self.network = network
        if pretrained or weights:
            take_published(self, weights)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = self.network(x)
        names = {"out": "output", "aux": "auxiliary"}
        return {names[name]: value for name, value in outputs.items()}

    def library_names(self) -> Mapping[str, str]:
        """torchvision's name of each weight: ours."""
        return {name: f"network.{name}" for name in self.network.state_dict()}

    def published_weights(self, which: str | None = None) -> Mapping[str, Tensor]:
        """The weights of that name (torchvision's best where none is given), under its names."""
        return published_network(self.name, which)

    def published_input(self, which: str | None = None) -> PublishedInput | None:
        """The pictures they were trained on."""
        return input_of_torchvision(self.name, which)
