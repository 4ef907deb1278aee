"""The rate falls when a metric has not become better for some evaluations; with a warm-up.

The rule is that of torch's ReduceLROnPlateau, number for number. Here the reduced rates are what a
warm-up leads to, so that the two do not overwrite each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch.optim import Optimizer

from cvtrainer.core.errors import UserError
from cvtrainer.optim.schedules import curves
from cvtrainer.optim.schedules.scheduler import CurveScheduler
from cvtrainer.optim.schedules.warmup import Warmup

Mode = Literal["auto", "min", "max"]

_COUNTED = ("best", "bad", "cooling")


@dataclass(frozen=True)
class Rule:
    """When the rate falls, and how far."""

    mode: Mode = "auto"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        if self.mode not in ("auto", "min", "max") or self.threshold_mode not in ("rel", "abs"):
            raise UserError(
                "mode is auto, min or max and threshold_mode rel or abs", where="scheduler_kwargs"
            )
        if not 0 <= self.factor < 1:
            raise UserError(
                f"factor is {self.factor}; it lies between 0 and 1", where="scheduler_kwargs"
            )


class PlateauScheduler(CurveScheduler):
    """`judge` is called with the metric after each evaluation; steps only move the warm-up."""

    def __init__(
        self,
        optimizer: Optimizer,
        rule: Rule,
        min_lr: float | Sequence[float],
        warmup: Warmup,
    ) -> None:
        groups = len(optimizer.param_groups)
        floors = list(min_lr) if isinstance(min_lr, Sequence) else [min_lr] * groups
        if len(floors) != groups:
            raise UserError(
                f"min_lr has {len(floors)} rates for {groups} groups", where="scheduler_kwargs"
            )
        self.rule = rule
        self.floors = floors
        self.best: float | None = None
        self.bad = 0
        self.cooling = 0
        super().__init__(optimizer, curves.constant, {}, warmup)

    def fit(self, unit: Literal["epoch", "step"], steps_per_epoch: int) -> None:
        """Steps are counted for the warm-up whatever the hook counts."""
        super().fit("epoch", steps_per_epoch)

    def judge(self, metric: float, mode: Mode = "auto") -> None:
        """One evaluation is over; `mode` is what the meter says, for a rule that is `auto`."""
        if self.warmup.delay and self.warmed < self.warmup.steps:
            return
        if self._better(metric, mode if self.rule.mode == "auto" else self.rule.mode):
            self.best, self.bad = metric, 0
        else:
            self.bad += 1
        if self.cooling > 0:
            self.cooling -= 1
            self.bad = 0
        if self.bad > self.rule.patience:
            self._reduce()
            self.cooling, self.bad = self.rule.cooldown, 0

    def _better(self, metric: float, mode: Mode) -> bool:
        if self.best is None or math.isnan(metric):
            return not math.isnan(metric)
        threshold, relative = self.rule.threshold, self.rule.threshold_mode == "rel"
        if mode == "max":
            return metric > (self.best * (threshold + 1.0) if relative else self.best + threshold)
        return metric < (self.best * (1.0 - threshold) if relative else self.best - threshold)

    def _reduce(self) -> None:
        for place, (rate, floor) in enumerate(zip(self.base_lrs, self.floors, strict=True)):
            lower = max(float(rate) * self.rule.factor, floor)
            if float(rate) - lower > self.rule.eps:
                self.base_lrs[place] = lower
        self.apply()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), **{key: getattr(self, key) for key in _COUNTED}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for key in _COUNTED:
            setattr(self, key, state_dict[key])
        super().load_state_dict(state_dict)
