"""Which class was taken for which, and the numbers that follow from it.

Counts are whole numbers on the device, rows the right classes and columns those chosen, so every
number is exact for any batches and processes. Classes that never occur are left out of means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.meters.forms import scores_and_labels
from cvtrainer.meters.tally import TallyMeter

AVERAGES = ("macro", "micro", "weighted")


class ConfusionMeter(TallyMeter):
    """The matrix itself as `confusion_<right>_<chosen>`, and `matrix` for whoever draws it."""

    PRODUCES: ClassVar[tuple[str, ...]] = ()
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {}
    _WHO: ClassVar[str] = "ConfusionMeter"

    def __init__(self, ignore_index: int = -100) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def update(self, output: Tensor, target: Tensor) -> None:
        """Scores `[N, C, ...]`, and indices `[N, ...]` or one value per class."""
        scores, labels = scores_and_labels(self._WHO, output, target)
        matrix, beyond = _counts(scores, labels, self.ignore_index)
        if beyond.device.type == "cpu":  # a device would have to be waited for
            self._refuse_beyond(int(beyond), len(matrix))
        self.tally.add(matrix=matrix, beyond=beyond)

    @property
    def matrix(self) -> Tensor | None:
        return self.tally["matrix"] if self.tally else None

    def compute(self) -> dict[str, float]:
        matrix = self._of_all()
        if matrix is None:
            return {}
        return {
            f"confusion_{right}_{chosen}": float(count)
            for right, row in enumerate(matrix.tolist())
            for chosen, count in enumerate(row)
        }

    def _of_all(self) -> Tensor | None:
        """The matrix, if every label that counts has a place in it."""
        matrix = self.matrix
        if matrix is not None:
            self._refuse_beyond(int(self.tally["beyond"]), len(matrix))
        return matrix

    def _refuse_beyond(self, labels: int, classes: int) -> None:
        if labels:
            raise UserError(
                f"{self._WHO}: {labels} labels are none of the output's {classes} classes, nor "
                f"ignore_index ({self.ignore_index})",
                todo="Correct the labels, or set ignore_index to the number that counts for "
                "nothing.",
            )


class BalancedAccuracyMeter(ConfusionMeter):
    """The mean over classes of how many of each were found."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("balanced_accuracy",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"balanced_accuracy": True}
    _WHO: ClassVar[str] = "BalancedAccuracyMeter"

    def compute(self) -> dict[str, float]:
        matrix = self._of_all()
        if matrix is None:
            return {}
        matrix = matrix.double()
        there = matrix.sum(dim=1)
        found = matrix.diagonal()[there > 0] / there[there > 0]
        return {"balanced_accuracy": float(found.mean())} if len(found) else {}


class ClassAccuracyMeter(ConfusionMeter):
    """How many of each class were found, as `accuracy_of_<class>`."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("accuracy_of_{classes}",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"accuracy_of": True}
    _WHO: ClassVar[str] = "ClassAccuracyMeter"

    def __init__(self, classes: Sequence[str], ignore_index: int = -100) -> None:
        super().__init__(ignore_index)
        self.classes = list(classes)

    def compute(self) -> dict[str, float]:
        matrix = self._of_all()
        if matrix is None:
            return {}
        if len(self.classes) != len(matrix):
            raise UserError(
                f"ClassAccuracyMeter: classes names {len(self.classes)}, the output has "
                f"{len(matrix)} of them"
            )
        rows: Mapping[str, list[int]] = dict(zip(self.classes, matrix.tolist(), strict=True))
        return {
            f"accuracy_of_{name}": row[place] / sum(row)
            for place, (name, row) in enumerate(rows.items())
            if sum(row)
        }


class F1Meter(ConfusionMeter):
    """F1, precision and recall: over classes (`macro`), samples (`micro`), or by their share."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("f1", "precision", "recall")
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"f1": True, "precision": True, "recall": True}
    _WHO: ClassVar[str] = "F1Meter"

    def __init__(
        self,
        average: Literal["macro", "micro", "weighted"] = "macro",
        ignore_index: int = -100,
    ) -> None:
        super().__init__(ignore_index)
        if average not in AVERAGES:
            raise UserError(f"F1Meter: average is {average!r}; it can be {', '.join(AVERAGES)}")
        self.average = average

    def compute(self) -> dict[str, float]:
        matrix = self._of_all()
        if matrix is None:
            return {}
        matrix = matrix.double()
        right, there, chosen = matrix.diagonal(), matrix.sum(dim=1), matrix.sum(dim=0)
        if self.average == "micro":
            right, there, chosen = (
                value.sum(dim=0, keepdim=True) for value in (right, there, chosen)
            )
        occurs = (there + chosen) > 0
        right, there, chosen = right[occurs], there[occurs], chosen[occurs]
        if not len(right):
            return {}
        values = {
            "f1": 2 * right / (there + chosen),
            "precision": right / chosen.clamp(min=1),
            "recall": right / there.clamp(min=1),
        }
        share = there / there.sum() if self.average == "weighted" else 1 / len(right)
        return {name: float((value * share).sum()) for name, value in values.items()}


def _counts(scores: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """The matrix, and how many labels that count are none of its classes."""
    classes = scores.shape[1]
    kept = labels != ignore_index
    inside = kept & (labels >= 0) & (labels < classes)
    pairs = labels.clamp(0, classes - 1) * classes + scores.argmax(dim=1)
    pairs = torch.where(inside, pairs, classes * classes)
    counts = torch.bincount(pairs, minlength=classes * classes + 1)[:-1]
    return counts.reshape(classes, classes), (kept & ~inside).sum()
