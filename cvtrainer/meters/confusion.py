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
from cvtrainer.meters.labels import beyond_classes, refuse_beyond, refuse_on_host
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
        scores, labels = scores_and_labels(self._WHO, output, target, self.ignore_index)
        matrix, beyond = _counts(scores, labels, self.ignore_index)
        refuse_on_host(self._WHO, beyond, len(matrix), self.ignore_index)
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
            beyond = self.tally.count("beyond")
            refuse_beyond(self._WHO, beyond, len(matrix), self.ignore_index)
        return matrix


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
        return f1_of_counts(
            matrix.diagonal(), matrix.sum(dim=1), matrix.sum(dim=0), average=self.average
        )


def f1_of_counts(right: Tensor, there: Tensor, chosen: Tensor, *, average: str) -> dict[str, float]:
    """F1, precision and recall of how many of each class there were, were chosen, and both."""
    if average == "micro":
        right, there, chosen = (value.sum(dim=0, keepdim=True) for value in (right, there, chosen))
    occurs = (there + chosen) > 0
    right, there, chosen = right[occurs], there[occurs], chosen[occurs]
    if not len(right):
        return {}
    values = {
        "f1": 2 * right / (there + chosen),
        "precision": right / chosen.clamp(min=1),
        "recall": right / there.clamp(min=1),
    }
    share = there / there.sum() if average == "weighted" else 1 / len(right)
    return {name: float((value * share).sum()) for name, value in values.items()}


def _counts(scores: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """The matrix, and how many labels that count are none of its classes."""
    classes = scores.shape[1]
    kept = labels != ignore_index
    beyond = beyond_classes(labels, classes, kept)
    inside = kept & ~beyond
    pairs = labels.clamp(0, classes - 1) * classes + scores.argmax(dim=1)
    pairs = torch.where(inside, pairs, classes * classes)
    counts = torch.bincount(pairs, minlength=classes * classes + 1)[:-1]
    return counts.reshape(classes, classes), beyond.sum()
