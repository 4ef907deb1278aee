"""Several batches make one optimizer step: the step of a large batch in the memory of a small one.

With `mean` the gradient is that of all samples in one batch, whatever the batches' sizes, also for
the short group that may end an epoch. With `sum` the gradients of the batches' losses are added.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from cvtrainer.core.errors import UserError
from cvtrainer.engine.plan import Plan
from cvtrainer.hooks.base import BaseHook, Rank


class AccumulateHook(BaseHook):
    """`steps` batches per optimizer step."""

    rank: ClassVar[Rank] = Rank.UPDATE

    def __init__(self, steps: int, reduction: Literal["mean", "sum"] = "mean") -> None:
        if steps < 1:
            raise UserError(f"hooks.accumulate: steps is {steps}; it must be 1 or more")
        if reduction not in ("mean", "sum"):
            raise UserError(
                f'hooks.accumulate: reduction is {reduction!r}; it must be "mean" or "sum"'
            )
        self.steps = steps
        self.reduction: Literal["mean", "sum"] = reduction

    def configure(self, plan: Plan) -> None:
        plan.accumulate = self.steps
        plan.reduction = self.reduction
