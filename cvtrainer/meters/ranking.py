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
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import State


class _Kept:
    """Scores and what was right, `[samples, classes]` each."""

    def __init__(self) -> None:
        self._scores: list[Tensor] = []
        self._wanted: list[Tensor] = []

    def update(self, output: Tensor, target: Tensor) -> None:
        """Scores before the softmax and indices `[N]`, or any scores and a 0 or 1 for each."""
        scores, wanted = output.detach(), target.detach()
        if scores.ndim == 1:
            scores = scores.unsqueeze(1)
        if wanted.shape != scores.shape:
            wanted = _one_value_per_class(wanted, scores, type(self).__name__)
            if scores.shape[1] > 1:  # classes that exclude each other: what counts is the share
                scores = scores.double().softmax(dim=1)
        self._scores.append(scores if scores.dtype == torch.float64 else scores.float())
        self._wanted.append(wanted > 0.5)

    def joined(self) -> tuple[Tensor, Tensor] | None:
        if not self._scores:
            return None
        device = self._scores[-1].device
        return (
            torch.cat([one.to(device) for one in self._scores]),
            torch.cat([one.to(device) for one in self._wanted]),
        )

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


def _one_value_per_class(wanted: Tensor, scores: Tensor, who: str) -> Tensor:
    if wanted.ndim == 1 and len(wanted) == len(scores):
        if scores.shape[1] == 1:
            return wanted.unsqueeze(1)
        return functional.one_hot(wanted.long(), scores.shape[1])
    raise UserError(
        f"{who}: the target has the shape {list(wanted.shape)} and the output "
        f"{list(scores.shape)}; give class indices or one value per class"
    )


class AUROCMeter(_Kept):
    """The mean over classes of the area under the ROC curve."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("auroc",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"auroc": True}

    def compute(self) -> dict[str, float]:
        """Empty as long as no class has samples on both sides."""
        joined = self.joined()
        if joined is None:
            return {}
        areas = [
            _area(scores, wanted) for scores, wanted in zip(*(one.T for one in joined), strict=True)
        ]
        known = [area for area in areas if area is not None]
        return {"auroc": sum(known) / len(known)} if known else {}


class AveragePrecisionMeter(_Kept):
    """The mean over classes of average precision."""

    PRODUCES: ClassVar[tuple[str, ...]] = ("average_precision",)
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"average_precision": True}

    def compute(self) -> dict[str, float]:
        """Empty as long as no class has a sample."""
        joined = self.joined()
        if joined is None:
            return {}
        found = [
            _average_precision(scores, wanted)
            for scores, wanted in zip(*(one.T for one in joined), strict=True)
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
