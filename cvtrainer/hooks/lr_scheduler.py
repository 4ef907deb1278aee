"""Moves learning rates by any schedule, torch's or ours, per epoch or per step.

It advances after an epoch or step has been recorded, so that a logged rate is the one that was
used. A schedule that follows a metric (plateau, ReduceLROnPlateau) advances after each evaluation.
A warm-up goes on after each step, also where the schedule behind it counts epochs. A step is one of
the optimizer: batches that only add to its gradient are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from cvtrainer.core.errors import UserError
from cvtrainer.core.metric_names import find_metric
from cvtrainer.engine.clock import Clock
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.optim.schedules import Length, Mode, Schedule, SchedulerType, build_schedule


class LRSchedulerHook(BaseHook):
    """One schedule per optimizer, or for the optimizer of the named update alone."""

    rank: ClassVar[Rank] = Rank.ADVANCE

    def __init__(
        self,
        scheduler_type: str | SchedulerType,
        scheduler_kwargs: Mapping[str, Any] | None = None,
        by: Literal["epoch", "step"] = "epoch",
        metric: str = "val_loss",
        update: str | None = None,
    ) -> None:
        if by not in ("epoch", "step"):
            raise UserError(f'hooks.lr_scheduler: by is {by!r}; it must be "epoch" or "step"')
        self.scheduler_type = scheduler_type
        self.scheduler_kwargs = dict(scheduler_kwargs or {})
        self.by: Literal["epoch", "step"] = by
        self.metric = metric
        self.update = update
        self.schedules: dict[str, Schedule] = {}
        self._loaded: dict[str, Any] = {}
        self._steps_behind = 0

    def before_train(self, stage: StageView) -> None:
        trainer = stage.trainer
        chosen = {
            name: one for name, one in trainer.optimizers.items() if self.update in (None, name)
        }
        if not chosen:
            raise UserError(
                f"hooks.lr_scheduler: no update is named {self.update!r}; there is "
                f"{', '.join(trainer.optimizers)}"
            )
        known = self._loaded or self.state_dict()
        self._loaded = {}
        per_epoch = trainer.steps_per_epoch
        steps = min(stage["epochs"] * per_epoch, trainer.settings.max_steps or math.inf)
        steps = max(1, steps - self._steps_behind)
        length = Length(epochs=math.ceil(steps / per_epoch), steps=int(steps), per_epoch=per_epoch)
        self.schedules = {
            name: build_schedule(
                optimizer,
                self.scheduler_type,
                self.scheduler_kwargs,
                unit=self.by,
                length=length,
                tell=lambda text: trainer.say(f"hooks.{self.name or 'lr_scheduler'}: {text}"),
            )
            for name, optimizer in chosen.items()
        }
        for name, schedule in self.schedules.items():
            if name in known:
                schedule.load_state_dict(known[name])

    def after_step(self, stage: StageView) -> None:
        if stage.phase != "train" or not stage.stepped:
            return
        for schedule in self.schedules.values():
            if self.by == "step" and not schedule.needs_metric:
                schedule.advance()
            else:
                schedule.warm_up()

    def after_epoch(self, stage: StageView) -> None:
        for schedule in self.schedules.values():
            if self.by == "epoch" and not schedule.needs_metric:
                schedule.advance()

    def after_eval(self, stage: StageView) -> None:
        following = [one for one in self.schedules.values() if one.needs_metric]
        if not following or stage.phase != "val":
            return
        name = find_metric(self.metric, stage["metrics"])
        if name is None:
            raise UserError(
                f"hooks.lr_scheduler.metric: no meter gives {self.metric!r}; there is "
                f"{', '.join(stage['metrics'])}"
            )
        phase, _, meter = name.partition("/")
        mode: Mode = "max" if stage.trainer.meters[phase].higher_is_better(meter) else "min"
        for schedule in following:
            schedule.advance(stage["metrics"][name], mode)

    def start_over(self, clock: Clock) -> None:
        """Begin here, whatever was loaded; what is left of the run is its length."""
        self._loaded = {}
        self._steps_behind = clock.step

    def state_dict(self) -> dict[str, Any]:
        return {name: schedule.state_dict() for name, schedule in self.schedules.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._loaded = state
