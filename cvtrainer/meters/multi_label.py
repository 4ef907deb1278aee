"""Labels of which any number may be right at once: how many of them are told rightly.

Each label is counted by itself, in whole numbers on the device, so every number is exact for any
batches and processes. A label that was neither there nor told is left out of the means of F1,
precision and recall.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.meters.confusion import f1_of_counts
from cvtrainer.meters.forms import same_shape
from cvtrainer.meters.labels import whole
from cvtrainer.meters.tally import TallyMeter

AVERAGES = ("macro", "micro")


class MultiLabelMeter(TallyMeter):
    """F1, precision, recall, accuracy: over labels (`macro`) or over all of them as one (`micro`).

    A label is told where the sigmoid of its score is `threshold` or more. `exact_match` is the
    share of samples with all labels right. Targets of `ignore_index` are left out.
    """

    PRODUCES: ClassVar[tuple[str, ...]] = (
        "f1",
        "precision",
        "recall",
        "label_accuracy",
        "exact_match",
    )
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {
        "f1": True,
        "precision": True,
        "recall": True,
        "label_accuracy": True,
        "exact_match": True,
    }

    def __init__(
        self,
        threshold: float = 0.5,
        average: Literal["macro", "micro"] = "macro",
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        if not 0 < threshold < 1:
            raise UserError(f"MultiLabelMeter: threshold is {threshold}; give more than 0, below 1")
        if average not in AVERAGES:
            raise UserError(
                f"MultiLabelMeter: average is {average!r}; it can be {', '.join(AVERAGES)}"
            )
        self.threshold = threshold
        self.average = average
        self.ignore_index = ignore_index

    def update(self, output: Tensor, target: Tensor) -> None:
        """Scores before the sigmoid `[N, C, ...]`, and a 0 or 1 for each."""
        scores, wanted = same_shape("MultiLabelMeter", output, target)
        if scores.ndim < 2:
            scores, wanted = scores.unsqueeze(1), wanted.unsqueeze(1)
        if scores.ndim > 2:
            scores, wanted = (one.movedim(1, -1).flatten(0, -2) for one in (scores, wanted))
        wanted = whole(wanted)
        counts = wanted != self.ignore_index
        beyond = (counts & ~((wanted >= 0) & (wanted <= 1))).sum()
        if beyond.device.type == "cpu":  # a device would have to be waited for
            self._refuse_beyond(int(beyond))
        told = (scores.float().sigmoid() >= self.threshold) & counts
        there = (wanted > 0.5) & counts
        right = ((told == there) & counts).sum(dim=0)
        exact = (told == there).all(dim=1) & counts.any(dim=1)
        self.tally.add(
            labels=torch.stack(
                ((told & there).sum(dim=0), there.sum(dim=0), told.sum(dim=0), right, counts.sum(0))
            ),
            samples=torch.stack((exact.sum(), counts.any(dim=1).sum())),
            beyond=beyond,
        )

    def compute(self) -> dict[str, float]:
        """Empty before the first label."""
        if not self.tally:
            return {}
        self._refuse_beyond(self.tally.count("beyond"))
        both, there, told, right, counted = self.tally["labels"].double().cpu()
        exact, samples = self.tally["samples"].tolist()
        if not samples:
            return {}
        if self.average == "micro":
            right, counted = right.sum(dim=0, keepdim=True), counted.sum(dim=0, keepdim=True)
        known = counted > 0
        return {
            **f1_of_counts(both, there, told, average=self.average),
            "label_accuracy": float((right[known] / counted[known]).mean()),
            "exact_match": exact / samples,
        }

    def _refuse_beyond(self, values: int) -> None:
        if values:
            raise UserError(
                f"MultiLabelMeter: {values} values of the target are neither from 0 to 1 nor "
                f"ignore_index ({self.ignore_index})",
                todo="Give one value per label, such as the tensorizer multi_hot does.",
            )
