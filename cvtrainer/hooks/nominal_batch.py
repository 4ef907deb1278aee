"""Trains as with batches of a nominal size, whatever fits into memory.

So many batches make one optimizer step as come nearest to the nominal size, and weight decay is
scaled by the share of it that a step really has, because it was chosen for that size. A config
written for 64 samples per step then means the same with batches of 8, 32 or 128.
"""

from __future__ import annotations

from typing import Any, ClassVar

from cvtrainer.core.errors import UserError
from cvtrainer.engine.plan import Plan
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank


class NominalBatchHook(BaseHook):
    """`size` samples per optimizer step, over all processes."""

    rank: ClassVar[Rank] = Rank.UPDATE

    def __init__(self, size: int = 64, scale_weight_decay: bool = True) -> None:
        if size < 1:
            raise UserError(f"hooks.nominal_batch: size is {size}; it must be 1 or more")
        self.size = size
        self.scale_weight_decay = scale_weight_decay
        self._steps = 1
        self._share = 1.0
        self._applied = 1.0

    def configure(self, plan: Plan) -> None:
        if not plan.batch_size:
            return
        self._steps = max(round(self.size / plan.batch_size), 1)
        self._share = plan.batch_size * self._steps / self.size
        self._refuse_another(plan.accumulate in (1, self._steps))
        plan.accumulate = self._steps

    def before_train(self, stage: StageView) -> None:
        """Scale what is not scaled yet: a resumed optimizer brings its groups as they were."""
        plan: Plan = stage.trainer.plan
        if not plan.batch_size:
            raise UserError("hooks.nominal_batch: the training loader does not say its batch size")
        self._refuse_another(plan.accumulate == self._steps)
        wanted = self._share if self.scale_weight_decay else 1.0
        if wanted == self._applied:
            return
        for optimizer in stage.trainer.optimizers.values():
            for group in optimizer.param_groups:
                if "weight_decay" in group:
                    group["weight_decay"] *= wanted / self._applied
        self._applied = wanted

    def state_dict(self) -> dict[str, Any]:
        return {"applied": self._applied}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._applied = float(state["applied"])

    def _refuse_another(self, alone: bool) -> None:
        if not alone:
            raise UserError(
                "hooks.nominal_batch: another hook says how many batches make a step; keep one"
            )
