"""Networks put together from three parts: backbone, adapter, head.

Any torch module is a model here; these classes save writing one. A backbone says how many
channels it gives, adapter and head are fitted to it, and a mismatch names both sides. What the
outputs mean and how they are trained is left to losses and tasks.
"""

from __future__ import annotations

from cvtrainer.models.adversarial import PictureDiscriminator, PictureGenerator
from cvtrainer.models.composed import BaseModel
from cvtrainer.models.parts import Adapter, Backbone, Head
from cvtrainer.models.quantizer import VectorQuantizer
from cvtrainer.models.several_inputs import GraphModel, SequenceModel, TableModel
from cvtrainer.models.torchvision_detector import TorchvisionDetector
from cvtrainer.models.torchvision_segmenter import TorchvisionSegmenter
from cvtrainer.models.vqvae import VQVAE

__all__ = [
    "VQVAE",
    "Adapter",
    "Backbone",
    "BaseModel",
    "GraphModel",
    "Head",
    "PictureDiscriminator",
    "PictureGenerator",
    "SequenceModel",
    "TableModel",
    "TorchvisionDetector",
    "TorchvisionSegmenter",
    "VectorQuantizer",
]
