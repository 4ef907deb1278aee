"""Data on its way to the model: sample, transforms, tensorizer, collate, stream.

Importing this room does not import torch; the tensorizers and the stream do.
"""

from cvtrainer.data.datasets import DataAdapter, Digits, ImageFolder, PictureWorld

__all__ = ["DataAdapter", "Digits", "ImageFolder", "PictureWorld"]
