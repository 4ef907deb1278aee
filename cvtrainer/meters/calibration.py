"""Whether a network is as sure as it is right: the expected calibration error.

Samples are sorted into equal bins of confidence; in each, the distance between mean confidence and
accuracy counts by its share of samples.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.meters.forms import scores_and_labels
from cvtrainer.meters.labels import beyond_classes, refuse_beyond, refuse_on_host
from cvtrainer.meters.tally import TallyMeter


class CalibrationErrorMeter(TallyMeter):
    """Outputs are scores before the softmax."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("calibration_error",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"calibration_error": False}

    def __init__(self, bins: int = 15, ignore_index: int = -100) -> None:
        super().__init__()
        if bins < 1:
            raise UserError(f"CalibrationErrorMeter: bins is {bins}; give 1 or more")
        self.bins = bins
        self.ignore_index = ignore_index
        self._classes = 0

    def update(self, output: Tensor, target: Tensor) -> None:
        scores, labels = scores_and_labels(
            "CalibrationErrorMeter", output, target, self.ignore_index
        )
        sure, chosen = scores.double().softmax(dim=1).max(dim=1)
        kept = labels != self.ignore_index
        beyond = beyond_classes(labels, scores.shape[1], kept).sum()
        refuse_on_host("CalibrationErrorMeter", beyond, scores.shape[1], self.ignore_index)
        self._classes = scores.shape[1]
        counts = kept.double()
        place = (sure * self.bins).ceil().long().clamp(1, self.bins) - 1
        empty = sure.new_zeros(self.bins)
        self.tally.add(
            sure=empty.index_add(0, place, sure * counts),
            right=empty.index_add(0, place, (chosen == labels).double() * counts),
            samples=empty.index_add(0, place, counts),
            beyond=beyond,
        )

    def compute(self) -> dict[str, float]:
        """Empty before the first sample."""
        if not self.tally:
            return {}
        beyond = self.tally.count("beyond")
        refuse_beyond("CalibrationErrorMeter", beyond, self._classes, self.ignore_index)
        samples = self.tally["samples"].sum()
        if not samples:
            return {}
        apart = (self.tally["sure"] - self.tally["right"]).abs().sum()
        return {"calibration_error": float(apart / samples)}
