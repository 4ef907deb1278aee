"""How well scores separate what belongs to a class from what does not.

Area under the ROC curve and average precision depend on all scores of an epoch, so these are kept,
on the device until they are read. Equal scores count as they do in the usual definition: half a
win for the area, one common step for precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.meters.labels import beyond_classes, refuse_beyond, whole
from cvtrainer.protocols import State

RIGHT, WRONG, LEFT_OUT, BEYOND, NEITHER = 1, 0, -1, -2, -3
"""What is kept of each target: whether it is so, does not count, is none of the classes (then all
of its row), or is to be a 0 or 1 and is not."""


class _Kept:
    """Scores and what was right, `[samples, classes]` each.

    Targets of `ignore_index` are left out; other numbers that are no label are refused.
    """

    def __init__(self, ignore_index: int = -100) -> None:
        self.ignore_index = ignore_index
        self._scores: list[Tensor] = []
        self._wanted: list[Tensor] = []

    def update(self, output: Tensor, target: Tensor) -> None:
        """Scores before the softmax and indices `[N, ...]`, or any scores and a 0 or 1 for each."""
        scores, target = output.detach(), target.detach()
        if scores.ndim == 1:
            scores = scores.unsqueeze(1)
        scores, wanted = self._of_each(scores, target)
        if wanted.device.type == "cpu":
            self._refuse_beyond(wanted)
        self._scores.append(scores if scores.dtype == torch.float64 else scores.float())
        self._wanted.append(wanted)

    def joined(self) -> tuple[Tensor, Tensor] | None:
        if not self._scores:
            return None
        device = self._scores[-1].device
        return (
            torch.cat([one.to(device) for one in self._scores]),
            torch.cat([one.to(device, torch.int8) for one in self._wanted]),
        )

    def columns(self) -> list[tuple[Tensor, Tensor]]:
        """Scores and whether it was so, for each class, of the targets that count."""
        joined = self.joined()
        if joined is None:
            return []
        self._refuse_beyond(joined[1])
        columns = zip(*(one.T for one in joined), strict=True)
        return [(scores[wanted >= 0], wanted[wanted >= 0] == RIGHT) for scores, wanted in columns]

    def reset(self) -> None:
        self._scores, self._wanted = [], []

    def merge(self, states: Sequence[State]) -> None:
        """Become all samples of these states."""
        self.reset()
        for state in states:
            if state:
                self._scores.append(state["scores"].cpu())
                self._wanted.append(state["wanted"].cpu())

    def state_dict(self) -> State:
        joined = self.joined()
        return {} if joined is None else {"scores": joined[0].clone(), "wanted": joined[1].clone()}

    def load_state_dict(self, state: State) -> None:
        self.merge([state])

    def _of_each(self, scores: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """One score and one of the five numbers above for each sample and class."""
        if target.shape == scores.shape:
            target = whole(target)
            counts = target != self.ignore_index
            wanted = (target > 0.5).to(torch.int8)
            wanted = wanted.masked_fill(~((target >= 0) & (target <= 1)), NEITHER)
            wanted = wanted.masked_fill(~counts, LEFT_OUT)
            return _rows(scores), _rows(wanted)
        if target.shape != scores.shape[:1] + scores.shape[2:]:
            raise UserError(
                f"{type(self).__name__}: the target has the shape {list(target.shape)} and the "
                f"output {list(scores.shape)}; give class indices or one value per class"
            )
        scores, labels = _rows(scores), target.reshape(-1, 1)
        classes = scores.shape[1]
        if classes == 1:
            return self._of_each(scores, labels)
        labels = labels.long()
        counts = labels != self.ignore_index
        wanted = (labels == torch.arange(classes, device=labels.device)).to(torch.int8)
        wanted = wanted.masked_fill(beyond_classes(labels, classes, counts), BEYOND)
        # Classes that exclude each other: what counts is the share.
        return scores.double().softmax(dim=1), wanted.masked_fill(~counts, LEFT_OUT)

    def _refuse_beyond(self, wanted: Tensor) -> None:
        neither = int((wanted == NEITHER).sum())
        if neither:
            raise UserError(
                f"{type(self).__name__}: {neither} labels of the target are neither 0 nor 1, nor "
                f"ignore_index ({self.ignore_index})",
                todo="Correct the labels, or set ignore_index to the number that counts for "
                "nothing.",
            )
        rows = int((wanted == BEYOND).any(dim=1).sum())
        refuse_beyond(type(self).__name__, rows, wanted.shape[1], self.ignore_index)


def _rows(values: Tensor) -> Tensor:
    """Of each place `[N, C, ...]` a row of its classes."""
    return values.movedim(1, -1).flatten(0, -2) if values.ndim > 2 else values


class AUROCMeter(_Kept):
    """The mean over classes of the area under the ROC curve."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("auroc",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"auroc": True}

    def compute(self) -> dict[str, float]:
        """Empty as long as no class has samples on both sides."""
        areas = [_area(scores, wanted) for scores, wanted in self.columns() if len(scores)]
        known = [area for area in areas if area is not None]
        return {"auroc": sum(known) / len(known)} if known else {}


class AveragePrecisionMeter(_Kept):
    """The mean over classes of average precision."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("average_precision",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"average_precision": True}

    def compute(self) -> dict[str, float]:
        """Empty as long as no class has a sample."""
        found = [
            _average_precision(scores, wanted)
            for scores, wanted in self.columns()
            if bool(wanted.any())
        ]
        return {"average_precision": sum(found) / len(found)} if found else {}


def _steps(scores: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """From the highest score down: right and wrong ones so far, where a step of equals ends."""
    order = scores.argsort(descending=True, stable=True)
    scores, wanted = scores[order], wanted[order]
    ends = torch.ones_like(wanted)
    ends[:-1] = scores[1:] != scores[:-1]
    return wanted.cumsum(0)[ends].double(), (~wanted).cumsum(0)[ends].double()


def _area(scores: Tensor, wanted: Tensor) -> float | None:
    right, wrong = _steps(scores, wanted)
    if not right[-1] or not wrong[-1]:
        return None
    start = right.new_zeros(1)
    return float(torch.trapezoid(torch.cat((start, right)), torch.cat((start, wrong)))) / float(
        right[-1] * wrong[-1]
    )


def _average_precision(scores: Tensor, wanted: Tensor) -> float:
    right, wrong = _steps(scores, wanted)
    recall = right / right[-1]
    gained = torch.diff(recall, prepend=recall.new_zeros(1))
    return float((gained * right / (right + wrong)).sum())
