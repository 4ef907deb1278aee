"""A small network that suffers from 8 bits: depthwise, hard-swish, norms of very unlike factors."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WildNet(nn.Module):
    """`wild` norms multiply their channels by 10 ** -wild to 10 ** wild when training begins."""

    def __init__(self, num_classes: int = 10, width: int = 8, wild: float = 1.5) -> None:
        super().__init__()
        layers = [*_normed(nn.Conv2d(1, width, 3, 1, 1, bias=False))]
        for inside, out in ((width, 2 * width), (2 * width, 4 * width), (4 * width, 4 * width)):
            depthwise = nn.Conv2d(inside, inside, 3, 2, 1, groups=inside, bias=False)
            layers += [*_normed(depthwise), *_normed(nn.Conv2d(inside, out, 1, bias=False))]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(4 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.data = 10 ** torch.linspace(-wild, wild, module.num_features)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.features(x).mean((2, 3)))
        return scores


def _normed(layer: nn.Conv2d) -> tuple[nn.Module, ...]:
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layer, nn.BatchNorm2d(layer.out_channels), nn.Hardswish()
