"""The head for images that belong to any number of classes at once.

Goes with BCEWithLogitsLoss and targets of one value per class.
"""

from __future__ import annotations

from torch import Tensor

from cvtrainer.models.heads.classifier import Classifier


class MultiLabel(Classifier):
    """One score per class; each stands for itself."""

    def probabilities(self, scores: Tensor) -> Tensor:
        """The probability of each class."""
        return scores.sigmoid()
