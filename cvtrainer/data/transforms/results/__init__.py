"""Transforms on `results` dictionaries: flip, resize, colour jitter, and lists of them."""

from cvtrainer.data.transforms.results.contract import Results
from cvtrainer.data.transforms.results.listed import ResultsTransforms
from cvtrainer.data.transforms.results.vocabulary import RandomColorJitter, RandomFlip, Resize

__all__ = ["RandomColorJitter", "RandomFlip", "Resize", "Results", "ResultsTransforms"]
