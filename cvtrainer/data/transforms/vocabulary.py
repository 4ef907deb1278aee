"""The transforms that mean the same on every back end, by the names that configs use.

Each draws its own parameters from the generator it is given and calls the back end's operations
with them. The constructors are the schema of the config: keywords only, one meaning each.
"""

from cvtrainer.data.transforms.vocabulary_color import ColorJitter, GaussianBlur, ToGray
from cvtrainer.data.transforms.vocabulary_geometry import (
    Affine,
    HorizontalFlip,
    RandomRotate90,
    Rotate,
    VerticalFlip,
)
from cvtrainer.data.transforms.vocabulary_sizes import (
    LongestMaxSize,
    RandomResizedCrop,
    RandomScale,
    Resize,
    SmallestMaxSize,
)
from cvtrainer.data.transforms.vocabulary_windows import CenterCrop, Pad, PadIfNeeded, RandomCrop

__all__ = [
    "Affine",
    "CenterCrop",
    "ColorJitter",
    "GaussianBlur",
    "HorizontalFlip",
    "LongestMaxSize",
    "Pad",
    "PadIfNeeded",
    "RandomCrop",
    "RandomResizedCrop",
    "RandomRotate90",
    "RandomScale",
    "Resize",
    "Rotate",
    "SmallestMaxSize",
    "ToGray",
    "VerticalFlip",
]
