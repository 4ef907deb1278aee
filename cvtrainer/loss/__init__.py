"""Losses whose arguments can be written in a config and whose targets may come in several forms.

Every loss of torch is usable by its own name or path; here is only what torch's cannot do from a
config, and what it does not have: focal losses, overlap, pictures, judges, weighted sums.
"""

from __future__ import annotations

from cvtrainer.loss.adversarial import AdversarialLoss
from cvtrainer.loss.binary import BCEWithLogitsLoss
from cvtrainer.loss.cross_entropy import CrossEntropyLoss
from cvtrainer.loss.detection import DetectionLoss
from cvtrainer.loss.focal import FocalLoss, QualityFocalLoss
from cvtrainer.loss.given import GivenLoss
from cvtrainer.loss.heatmap import HeatmapLoss
from cvtrainer.loss.instances import InstanceLoss
from cvtrainer.loss.keyed import KeyedLosses, LossTerm
from cvtrainer.loss.overlap import BoxIoULoss, DiceLoss, DistributionFocalLoss
from cvtrainer.loss.pictures import PerceptualLoss, SSIMLoss
from cvtrainer.loss.weighted import WeightedLosses

__all__ = [
    "AdversarialLoss",
    "BCEWithLogitsLoss",
    "BoxIoULoss",
    "CrossEntropyLoss",
    "DetectionLoss",
    "DiceLoss",
    "DistributionFocalLoss",
    "FocalLoss",
    "GivenLoss",
    "HeatmapLoss",
    "InstanceLoss",
    "KeyedLosses",
    "LossTerm",
    "PerceptualLoss",
    "QualityFocalLoss",
    "SSIMLoss",
    "WeightedLosses",
]
