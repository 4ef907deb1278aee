"""The composition root: only here do configs become objects and the two halves meet."""

from cvtrainer.experiment.assembly import Experiment
from cvtrainer.experiment.building import Builder
from cvtrainer.experiment.data import Data
from cvtrainer.experiment.surroundings import PHASES, Surroundings

__all__ = ["PHASES", "Builder", "Data", "Experiment", "Surroundings"]
