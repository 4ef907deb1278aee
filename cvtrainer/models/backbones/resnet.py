"""Residual networks without their classifier, giving the last map of features.

The layers are torchvision's and keep its parameter names, so published weights fit. For images of
a few dozen pixels, `small_images` leaves out the two early halvings.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from cvtrainer.models.backbones.from_torchvision import classification_network
from cvtrainer.models.backbones.stem import fit_stem
from cvtrainer.models.parts import Backbone


class ResNet(Backbone):
    """What the depths have in common; use ResNet18, ResNet34 or ResNet50."""

    NETWORK: ClassVar[str]

    def __init__(
        self, in_channels: int = 3, weights: str | None = None, small_images: bool = False
    ) -> None:
        super().__init__()
        network = classification_network(self.NETWORK, weights)
        fit_stem(network, in_channels)
        self.in_channels = in_channels
        self.out_channels: int = network.fc.in_features  # type: ignore[assignment, union-attr]
        for name, layer in network.named_children():
            if name not in ("avgpool", "fc"):
                self.add_module(name, layer)
        if small_images:
            self.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.children():
            x = layer(x)
        return x


class ResNet18(ResNet):
    """512 channels, 11 million parameters."""

    NETWORK = "resnet18"


class ResNet34(ResNet):
    """512 channels, 21 million parameters."""

    NETWORK = "resnet34"


class ResNet50(ResNet):
    """2048 channels, 24 million parameters."""

    NETWORK = "resnet50"
