"""What the outputs of a model mean: decoded into batched tensors, told as plain values.

A reading has no network and no loss of its own; the stage's model and criterion train as ever.
Tasks that train in another way (several updates, several networks) say so with `updates`.
"""

from __future__ import annotations

from cvtrainer.tasks.classification import Classification, MultiLabelClassification
from cvtrainer.tasks.detection import Detection
from cvtrainer.tasks.distillation import Distillation
from cvtrainer.tasks.gan import GAN
from cvtrainer.tasks.instances import Instances
from cvtrainer.tasks.keypoints import Keypoints
from cvtrainer.tasks.pictures import Pictures
from cvtrainer.tasks.regression import Regression
from cvtrainer.tasks.segmentation import Segmentation
from cvtrainer.tasks.several import Several

__all__ = [
    "GAN",
    "Classification",
    "Detection",
    "Distillation",
    "Instances",
    "Keypoints",
    "MultiLabelClassification",
    "Pictures",
    "Regression",
    "Segmentation",
    "Several",
]
