"""Reports a trial's metric after each evaluation and ends the trial where it is told to.

What was reported is saved with the checkpoints, so that a trial that is taken over reports it
again and then goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.judging import judged_metric

Report = Callable[[Mapping[int, float]], bool]
"""Gets values by evaluation, counted from 1; true: stop here."""


class SweepHook(BaseHook):
    """Listens to one stage, the last; the stage ends at a border, so all it saves is whole."""

    rank: ClassVar[Rank] = Rank.DECIDE
    name = "tune_sweep"

    def __init__(self, metric: str, stage: str, report: Report) -> None:
        self._metric = metric
        self._stage = stage
        self._report = report
        self.values: list[float] = []
        self.pruned = False

    def before_train(self, stage: StageView) -> None:
        if stage.name == self._stage and self.values:
            self._report(dict(enumerate(self.values, start=1)))

    def after_eval(self, stage: StageView) -> None:
        if stage.name != self._stage or stage.phase != "val" or "epochs" not in stage:
            return
        name = judged_metric(self._metric, stage, where="--metric")
        self.values.append(float(stage["metrics"][name]))
        if self._report({len(self.values): self.values[-1]}):
            self.pruned = True
            stage.trainer.say(f"pruned after evaluation {len(self.values)}")
            stage.trainer.stop()

    def state_dict(self) -> dict[str, Any]:
        return {"values": list(self.values)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values = [float(value) for value in state["values"]]
