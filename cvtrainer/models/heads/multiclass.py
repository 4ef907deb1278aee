"""The head for images that belong to exactly one class.

Goes with CrossEntropyLoss and with AccuracyMeter.
"""

from __future__ import annotations

from torch import Tensor

from cvtrainer.models.heads.classifier import Classifier


class Multiclass(Classifier):
    """One score per class; the highest wins."""

    def probabilities(self, scores: Tensor) -> Tensor:
        """Probabilities that sum to one per image."""
        return scores.softmax(dim=1)
