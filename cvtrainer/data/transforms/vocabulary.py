"""The transforms that mean the same on every back end, by the names that configs use.

Each draws its own parameters from the generator it is given and calls the back end's operations
with them. The constructors are the schema of the config: keywords only, one meaning each.
"""

from cvtrainer.data.transforms.vocabulary_color import ColorJitter, GaussianBlur, ToGray
from cvtrainer.data.transforms.vocabulary_erasing import CoarseDropout, RandomErasing
from cvtrainer.data.transforms.vocabulary_geometry import (
    Affine,
    HorizontalFlip,
    RandomRotate90,
    Rotate,
    Transpose,
    VerticalFlip,
)
from cvtrainer.data.transforms.vocabulary_policies import RandAugment, TrivialAugmentWide
from cvtrainer.data.transforms.vocabulary_sizes import (
    LongestMaxSize,
    RandomResizedCrop,
    RandomScale,
    Resize,
    SmallestMaxSize,
)
from cvtrainer.data.transforms.vocabulary_tones import (
    AutoContrast,
    Equalize,
    InvertImg,
    Posterize,
    RandomGamma,
    Sharpness,
    Solarize,
)
from cvtrainer.data.transforms.vocabulary_warps import ElasticTransform, Perspective
from cvtrainer.data.transforms.vocabulary_windows import CenterCrop, Pad, PadIfNeeded, RandomCrop

__all__ = [
    "Affine",
    "AutoContrast",
    "CenterCrop",
    "CoarseDropout",
    "ColorJitter",
    "ElasticTransform",
    "Equalize",
    "GaussianBlur",
    "HorizontalFlip",
    "InvertImg",
    "LongestMaxSize",
    "Pad",
    "PadIfNeeded",
    "Perspective",
    "Posterize",
    "RandAugment",
    "RandomCrop",
    "RandomErasing",
    "RandomGamma",
    "RandomResizedCrop",
    "RandomRotate90",
    "RandomScale",
    "Resize",
    "Rotate",
    "Sharpness",
    "SmallestMaxSize",
    "Solarize",
    "ToGray",
    "Transpose",
    "TrivialAugmentWide",
    "VerticalFlip",
]
