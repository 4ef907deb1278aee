"""Mixing the samples of a batch with each other: MixUp, CutMix, Mosaic."""

from cvtrainer.data.mixing.mixer import Mixer
from cvtrainer.data.mixing.mosaic import Mosaic
from cvtrainer.data.mixing.pictures import CutMix, MixUp, MixUpOrCutMix

__all__ = ["CutMix", "MixUp", "MixUpOrCutMix", "Mixer", "Mosaic"]
