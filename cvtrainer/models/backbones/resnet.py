"""Residual networks without their classifier, giving the last map of features.

The layers are torchvision's and keep its parameter names, so published weights fit. For images of
a few dozen pixels, `small_images` leaves out the two early halvings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.models.backbones.from_torchvision import (
    classification_network,
    published_classifier,
)
from cvtrainer.models.backbones.published import take_published
from cvtrainer.models.backbones.published_input import PublishedInput, input_of_torchvision
from cvtrainer.models.backbones.stem import fit_stem
from cvtrainer.models.parts import Backbone


class ResNet(Backbone):
    """What the depths have in common; use ResNet18, ResNet34 or ResNet50."""

    NETWORK: ClassVar[str]

    CAPABILITIES: ClassVar[tuple[str, ...]] = ("exportable", "quantisable", "compilable")
    ASKS_BY: ClassVar[tuple[str, ...]] = ("pretrained", "weights")

    def __init__(
        self,
        in_channels: int = 3,
        weights: str | None = None,
        small_images: bool = False,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        network = classification_network(self.NETWORK)
        fit_stem(network, in_channels)
        self.in_channels = in_channels
        self.out_channels: int = network.fc.in_features  # type: ignore[assignment, union-attr]
        for name, layer in network.named_children():
            if name not in ("avgpool", "fc"):
                self.add_module(name, layer)
        if small_images:
            self.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        if pretrained or weights:
            take_published(self, weights)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x

    def library_names(self) -> Mapping[str, str]:
        """The names are torchvision's."""
        return {}

    def published_weights(self, which: str | None = None) -> Mapping[str, Tensor]:
        """The weights of that name (torchvision's best where none is given)."""
        return published_classifier(self.NETWORK, which)

    def published_input(self, which: str | None = None) -> PublishedInput | None:
        """The pictures they were trained on."""
        return input_of_torchvision(self.NETWORK, which)


class ResNet18(ResNet):
    """512 channels, 11 million parameters."""

    NETWORK = "resnet18"


class ResNet34(ResNet):
    """512 channels, 21 million parameters."""

    NETWORK = "resnet34"


class ResNet50(ResNet):
    """2048 channels, 24 million parameters."""

    NETWORK = "resnet50"
