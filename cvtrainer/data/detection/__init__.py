"""Which storage lies at a path, told by cheap looks: names, endings and first bytes."""

from cvtrainer.data.detection.candidate import Candidate
from cvtrainer.data.detection.detect import TYPES, candidates, detect
from cvtrainer.data.detection.open_format import detected

__all__ = ["TYPES", "Candidate", "candidates", "detect", "detected"]
