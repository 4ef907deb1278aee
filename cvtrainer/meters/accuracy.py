"""How often the right class is among the k highest scores.

Counts are integers on the device, so the result is exact for any batch sizes and any number of
processes. The rank of the right class is counted, not searched: among equal scores the lower
class index comes first, the same on every device, and a score that is not a number is never
right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.meters.forms import scores_and_labels
from cvtrainer.meters.labels import beyond_classes, refuse_beyond, refuse_on_host
from cvtrainer.protocols import State


class AccuracyMeter:
    """Gives `accuracy` for k = 1 and `accuracy_top<k>` for every other k.

    Targets are class indices or one value per class (one-hot, soft), of which the highest counts.
    A k above the number of classes means all classes. Samples whose index is `ignore_index` are
    left out, other indices that are no class refused.
    """

    PRODUCES: ClassVar[tuple[str, ...]] = ("accuracy", "accuracy_top{topk}")
    HIGHER_IS_BETTER: ClassVar[dict[str, bool]] = {"accuracy": True}

    def __init__(self, topk: Sequence[int] = (1,), ignore_index: int = -100) -> None:
        self.topk = tuple(dict.fromkeys(topk))
        self.ignore_index = ignore_index
        if not self.topk or min(self.topk) < 1:
            raise UserError(f"AccuracyMeter: topk is {list(topk)}; give whole numbers from 1 on")
        self._counts: Tensor | None = None
        self._limits: Tensor | None = None
        self._limited_to = 0
        self._classes = 0

    def update(self, output: Tensor, target: Tensor) -> None:
        """Add samples: scores `[N, C, ...]`, and indices `[N, ...]` or values `[N, C, ...]`."""
        scores, labels = scores_and_labels("AccuracyMeter", output, target, self.ignore_index)
        if self.topk == (1,):
            counts = self._highest(scores, labels)
        else:
            counts = (self._ranks(scores, labels) < self._limits_for(scores)).sum(dim=1)
        self._classes = scores.shape[1]
        refuse_on_host("AccuracyMeter", counts[-1], self._classes, self.ignore_index)
        known = self._counts
        self._counts = counts if known is None else known.to(counts.device) + counts

    def compute(self) -> dict[str, float]:
        """The fractions; empty before the first sample."""
        if self._counts is None:
            return {}
        *hits, samples, beyond = self._counts.tolist()
        refuse_beyond("AccuracyMeter", beyond, self._classes, self.ignore_index)
        if not samples:
            return {}
        return {
            "accuracy" if k == 1 else f"accuracy_top{k}": hit / samples
            for k, hit in zip(self.topk, hits, strict=True)
        }

    def reset(self) -> None:
        self._counts = None

    def merge(self, states: Sequence[State]) -> None:
        """Become the sum of these states."""
        counts = [
            self._complete(state["counts"].cpu()) for state in states if state["counts"] is not None
        ]
        self._counts = torch.stack(counts).sum(dim=0) if counts else None

    def state_dict(self) -> State:
        return {"counts": None if self._counts is None else self._counts.clone()}

    def load_state_dict(self, state: State) -> None:
        counts = state["counts"]
        self._counts = None if counts is None else self._complete(counts).clone()

    def _complete(self, counts: Tensor) -> Tensor:
        """Older states do not count labels that are no class."""
        return functional.pad(counts, (0, len(self.topk) + 2 - len(counts)))

    def _highest(self, scores: Tensor, labels: Tensor) -> Tensor:
        """The usual case in fewer operations: among equals the first class counts, NaN never."""
        highest, place = scores.max(dim=1)
        counts = labels != self.ignore_index
        hits = (place == labels) & (highest == highest) & counts
        beyond = beyond_classes(labels, scores.shape[1], counts)
        return torch.stack((hits, counts, beyond)).sum(dim=1)

    def _ranks(self, scores: Tensor, labels: Tensor) -> Tensor:
        """How many classes come before the right one.

        Ignored samples are past the last class, labels that are no class before the first one.
        """
        classes = scores.shape[1]
        ignored = labels == self.ignore_index
        inside = labels.clamp(0, classes - 1)
        beyond = (inside != labels) & ~ignored
        labels = inside.unsqueeze(1)
        right = scores.gather(1, labels)
        earlier = torch.arange(classes, device=scores.device) < labels
        before = (scores <= right).logical_not_() | ((scores == right) & earlier)
        return before.sum(dim=1).masked_fill(ignored, classes + 1).masked_fill(beyond, -1)

    def _limits_for(self, scores: Tensor) -> Tensor:
        """A column of what each count's ranks are below: every k, all samples, no class at all."""
        classes = scores.shape[1]
        limits = self._limits
        if limits is None or limits.device != scores.device or self._limited_to != classes:
            rows = [[min(k, classes)] for k in self.topk]
            limits = torch.tensor([*rows, [classes + 1], [0]], device=scores.device)
            self._limits, self._limited_to = limits, classes
        return limits
