"""Networks that turn images into features.

None of them downloads anything unless `weights` or `pretrained` asks for it.
"""

from __future__ import annotations

from cvtrainer.models.backbones.edge_net import EdgeNet
from cvtrainer.models.backbones.from_timm import TimmBackbone
from cvtrainer.models.backbones.from_torchvision import TorchvisionBackbone
from cvtrainer.models.backbones.graph_net import GraphNet
from cvtrainer.models.backbones.resnet import ResNet18, ResNet34, ResNet50
from cvtrainer.models.backbones.series_net import SeriesNet
from cvtrainer.models.backbones.small_cnn import SmallCNN
from cvtrainer.models.backbones.table_net import TableNet
from cvtrainer.models.backbones.text_net import TextNet
from cvtrainer.models.backbones.timm_pyramid import TimmPyramid
from cvtrainer.models.backbones.torchvision_pyramid import TorchvisionPyramid
from cvtrainer.models.parts import Backbone

__all__ = [
    "Backbone",
    "EdgeNet",
    "GraphNet",
    "ResNet18",
    "ResNet34",
    "ResNet50",
    "SeriesNet",
    "SmallCNN",
    "TableNet",
    "TextNet",
    "TimmBackbone",
    "TimmPyramid",
    "TorchvisionBackbone",
    "TorchvisionPyramid",
]
