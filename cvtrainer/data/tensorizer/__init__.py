"""Tensorizers: from the plain values of one sample to tensors, field by field."""

from cvtrainer.data.tensorizer.image import ImageTensorizer
from cvtrainer.data.tensorizer.labels import IndexTensorizer, OneHotTensorizer, ScalarTensorizer
from cvtrainer.data.tensorizer.mapping import Tensorizer
from cvtrainer.data.tensorizer.regions import BoxTensorizer, KeypointTensorizer, MaskTensorizer

__all__ = [
    "BoxTensorizer",
    "ImageTensorizer",
    "IndexTensorizer",
    "KeypointTensorizer",
    "MaskTensorizer",
    "OneHotTensorizer",
    "ScalarTensorizer",
    "Tensorizer",
]
