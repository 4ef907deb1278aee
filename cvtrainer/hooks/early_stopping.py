"""Ends a stage when a metric has not become better for some evaluations.

Every process comes to the same decision, because metrics are merged over all of them before
anybody sees them. What was counted is saved, so a run that was killed after its decision does not
go on when it is resumed, unless it is given more patience.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from cvtrainer.core.errors import UserError
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.judging import is_better, judged_metric


class EarlyStoppingHook(BaseHook):
    """`patience` counts evaluations; 0 never stops. Better means by more than `min_delta`."""

    rank: ClassVar[Rank] = Rank.DECIDE

    def __init__(
        self,
        metric_name: str,
        patience: int,
        min_delta: float = 0.0,
        mode: Literal["auto", "max", "min"] = "auto",
    ) -> None:
        if mode not in ("auto", "max", "min"):
            raise UserError(
                f'hooks.early_stopping: mode is {mode!r}; it must be "auto", "max" or "min"'
            )
        for name, value in (("patience", patience), ("min_delta", min_delta)):
            if not value >= 0:
                raise UserError(f"hooks.early_stopping: {name} is {value}; it must be 0 or more")
        self.metric_name = metric_name
        self.patience = patience
        self.min_delta = min_delta
        self.mode = mode
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0

    def before_train(self, stage: StageView) -> None:
        if self.patience and "val" not in stage.trainer.streams:
            raise UserError(
                "hooks.early_stopping: there is no dataloader.val, so nothing is ever evaluated"
            )
        self._stop_when_over(stage)

    def after_eval(self, stage: StageView) -> None:
        training = "epochs" in stage
        if not (self.patience and training and stage.phase == "val"):
            return
        name = judged_metric(self.metric_name, stage, where="hooks.early_stopping.metric_name")
        value = stage["metrics"][name]
        mode = None if self.mode == "auto" else self.mode
        if is_better(
            value, self.best, metric=name, mode=mode, stage=stage, min_delta=self.min_delta
        ):
            self.best, self.best_epoch, self.waited = value, stage.epoch, 0
        else:
            self.waited += 1
        self._stop_when_over(stage)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self.waited = int(state["waited"])

    def _stop_when_over(self, stage: StageView) -> None:
        if not self.patience or self.waited < self.patience:
            return
        best = (
            "there was never a number"
            if self.best is None
            else f"the best is {self.best:.6g} of epoch {self.best_epoch}"
        )
        by = f" by more than {self.min_delta:g}" if self.min_delta else ""
        stage.trainer.say(
            f"stopped early in epoch {stage.epoch}: {self.metric_name} has not become better{by} "
            f"in {self.waited} evaluations; {best}"
        )
        stage.trainer.stop()
