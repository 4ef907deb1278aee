"""What turns features into scores.

Heads give raw scores, as losses want them; `probabilities` turns scores into what a person reads.
"""

from __future__ import annotations

from cvtrainer.models.heads.dense import HeatmapHead, MaskHead
from cvtrainer.models.heads.detector import DetectionHead
from cvtrainer.models.heads.each_place import EachPlace
from cvtrainer.models.heads.instances import InstanceHead
from cvtrainer.models.heads.multi_label import MultiLabel
from cvtrainer.models.heads.multiclass import Multiclass
from cvtrainer.models.heads.regression import Regression
from cvtrainer.models.heads.several import SeveralHeads
from cvtrainer.models.parts import Head

__all__ = [
    "DetectionHead",
    "EachPlace",
    "Head",
    "HeatmapHead",
    "InstanceHead",
    "MaskHead",
    "MultiLabel",
    "Multiclass",
    "Regression",
    "SeveralHeads",
]
