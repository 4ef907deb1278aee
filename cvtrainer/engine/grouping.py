"""Which batches make one optimizer step together, and with which share each of them counts.

Groups start anew with each epoch, and the last one of an epoch may be short. With `mean` the
gradient of a step is that of all its samples in one batch: each batch counts by its samples. How
many the group will hold is not known before its end, so shares assume that all its batches are as
large as the first one, and where they were not, the gradient is corrected once before the step.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.optim import Optimizer

from cvtrainer.protocols import State


class Grouping:
    """`first`, `last`, `share` tell about the batch that `open` was called for.

    `uneven` says that the gradient must be corrected before the step.
    """

    __slots__ = (
        "_expected",
        "_seen",
        "_unit",
        "every",
        "first",
        "last",
        "reduction",
        "share",
        "uneven",
    )

    def __init__(self, every: int = 1, reduction: Literal["mean", "sum"] = "mean") -> None:
        self.every = every
        self.reduction = reduction
        self.first = self.last = True
        self.share = 1.0
        self.uneven = False
        self._unit = 0
        self._seen = 0
        self._expected = 1

    def open(self, place: int, length: int, samples: int) -> None:
        """The batch at that place (from 0) of an epoch of that length; samples of all ranks."""
        inside = place % self.every
        self.first = inside == 0
        self._expected = min(self.every, length - (place - inside))
        self.last = inside + 1 >= self._expected
        if self.first:
            self._unit, self._seen = samples, 0
        self._seen += samples
        self.share = 1.0
        if self.reduction == "mean":
            self.share = samples / (self._unit * self._expected)
            self.uneven = self.last and self._seen != self._unit * self._expected

    def correct(self, optimizer: Optimizer) -> None:
        """Before the step, where the batches of the group were not all as large as its first."""
        gradients = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if gradients:
            torch._foreach_mul_(gradients, self._unit * self._expected / self._seen)

    def steps_in(self, batches: int) -> int:
        """Optimizer steps of an epoch of so many batches."""
        return -(-batches // self.every)

    def state_dict(self) -> State:
        return {
            "every": self.every,
            "reduction": self.reduction,
            "unit": self._unit,
            "seen": self._seen,
        }

    def fits(self, state: State) -> bool:
        """Whether a group that was begun then can be completed now."""
        return bool(state["every"] == self.every and state["reduction"] == self.reduction)

    def load_state_dict(self, state: State) -> None:
        self._unit, self._seen = int(state["unit"]), int(state["seen"])
        self.first = self.last = False
