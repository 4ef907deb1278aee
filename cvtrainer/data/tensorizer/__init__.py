"""Tensorizers: from the plain values of one sample to tensors, field by field."""

from cvtrainer.data.tensorizer.audio import AudioTensorizer, LogMelTensorizer
from cvtrainer.data.tensorizer.image import ImageTensorizer
from cvtrainer.data.tensorizer.labels import (
    IndexTensorizer,
    MultiHotTensorizer,
    OneHotTensorizer,
    ScalarTensorizer,
    VectorTensorizer,
)
from cvtrainer.data.tensorizer.mapping import Tensorizer
from cvtrainer.data.tensorizer.regions import BoxTensorizer, KeypointTensorizer, MaskTensorizer
from cvtrainer.data.tensorizer.rows import CategoriesTensorizer, NumbersTensorizer
from cvtrainer.data.tensorizer.sequences import SequenceTensorizer
from cvtrainer.data.tensorizer.text import TextTensorizer

__all__ = [
    "AudioTensorizer",
    "BoxTensorizer",
    "CategoriesTensorizer",
    "ImageTensorizer",
    "IndexTensorizer",
    "KeypointTensorizer",
    "LogMelTensorizer",
    "MaskTensorizer",
    "MultiHotTensorizer",
    "NumbersTensorizer",
    "OneHotTensorizer",
    "ScalarTensorizer",
    "SequenceTensorizer",
    "Tensorizer",
    "TextTensorizer",
    "VectorTensorizer",
]
