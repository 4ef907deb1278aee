"""Figures of a data set: how many of what, how large, and how they are spread."""

from cvtrainer.data.statistics.collect import statistics_of
from cvtrainer.data.statistics.spread import Spread

__all__ = ["Spread", "statistics_of"]
