"""Bounds gradients before the optimizer uses them: their norm all together, or each element.

Only the gradients of the networks that the update under way changes count, and they are looked at
after the hooks of rank UPDATE have made them final. The norm before clipping stays on the device
as `measured["gradient_norm"]` of the context, where a logger reads it when a line is due.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.ddp.pieces import put_together
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank


class ClipGradientsHook(BaseHook):
    """Either `max_norm`, the longest that all gradients together may be, or `value`, for each."""

    rank: ClassVar[Rank] = Rank.DECIDE

    def __init__(
        self,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        value: float | None = None,
    ) -> None:
        if (max_norm is None) == (value is None):
            raise UserError("hooks.clip_gradients: give either max_norm or value")
        for name, number in (("max_norm", max_norm), ("norm_type", norm_type), ("value", value)):
            if number is not None and not float(number) > 0:
                raise UserError(f"hooks.clip_gradients: {name} is {number}; it must be above 0")
        self.max_norm = None if max_norm is None else float(max_norm)
        self.norm_type = float(norm_type)
        self.value = None if value is None else float(value)
        self._parameters: dict[str, list[nn.Parameter]] = {}
        self._norms: dict[str, Tensor] = {}

    def before_train(self, stage: StageView) -> None:
        trainer = stage.trainer
        self._parameters = {
            update.name: list(
                dict.fromkeys(
                    parameter
                    for name in update.networks
                    for parameter in trainer.networks[name].parameters()
                )
            )
            for update in trainer.task.updates()
        }
        for update, norm in self._norms.items():
            self._tell(stage, update, norm)

    def before_optimize(self, stage: StageView) -> None:
        assert stage.update is not None
        parameters = self._parameters[stage.update]
        gradients = [one.grad for one in parameters if one.grad is not None]
        norm = put_together(nn.utils.get_total_norm(gradients, self.norm_type))
        if self.max_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.max_norm, norm)
        else:
            assert self.value is not None
            nn.utils.clip_grad_value_(parameters, self.value)
        self._tell(stage, stage.update, norm)

    def state_dict(self) -> dict[str, Any]:
        """The latest norms: a record may be due right after a resume, before the next step."""
        return {"norms": dict(self._norms)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._norms = dict(state["norms"])

    def _tell(self, stage: StageView, update: str, norm: Tensor) -> None:
        self._norms[update] = norm
        name = "gradient_norm" if len(self._parameters) == 1 else f"{update}_gradient_norm"
        stage["measured"] = {**stage.get("measured", {}), name: norm}
