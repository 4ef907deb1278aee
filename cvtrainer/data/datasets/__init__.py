"""Data sets: each gives samples by number and says which file a sample came from."""

from cvtrainer.data.datasets.adapter import DataAdapter
from cvtrainer.data.datasets.digits import Digits
from cvtrainer.data.datasets.image_folder import ImageFolder
from cvtrainer.data.datasets.picture_world import PictureWorld

__all__ = ["DataAdapter", "Digits", "ImageFolder", "PictureWorld"]
