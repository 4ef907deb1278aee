"""Hands the numbers that are due to the loggers.

Every `train_log_freq` optimizer steps: the training metrics so far, the learning rate and the
speed. At the end of each epoch: the metrics of the whole epoch (in place of a step's record that
would be due there). After every `val_log_freq`-th evaluation: its metrics. 25 steps an epoch and
a frequency of 10 give records at steps 10, 20 and 25. Between them nothing is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any, ClassVar

from cvtrainer.core.errors import UserError
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.log_items import Item, LogItems
from cvtrainer.protocols import LogRecord


class LoggerHook(BaseHook):
    """A frequency of 0 leaves those records out; `log_items` adds values of the running stage."""

    rank: ClassVar[Rank] = Rank.RECORD

    def __init__(
        self,
        train_log_freq: int = 10,
        val_log_freq: int = 1,
        log_items: Mapping[str, Item] | None = None,
    ) -> None:
        for name, value in (("train_log_freq", train_log_freq), ("val_log_freq", val_log_freq)):
            if value < 0:
                raise UserError(f"hooks.logger: {name} is {value}; it must be 0 or more")
        self.train_log_freq = train_log_freq
        self.val_log_freq = val_log_freq
        self.evaluations = 0
        self._items = LogItems(log_items or {})
        self._since = 0.0
        self._samples = 0
        self._eval_began = 0.0

    def before_train(self, stage: StageView) -> None:
        self._restart_watch(stage)

    def before_epoch(self, stage: StageView) -> None:
        self._restart_watch(stage)

    def due(self, stage: StageView) -> bool:
        """Whether a record of training is written after this step; not where an epoch ends."""
        frequency = self.train_log_freq
        if not frequency or stage.step % frequency or not stage.stepped:
            return False
        trainer = stage.trainer
        if stage.phase != "train" or not trainer.writers:
            return False
        return bool(stage.clock.batch < len(trainer.streams["train"]))

    def after_step(self, stage: StageView) -> None:
        if not self.due(stage):
            return  # at the end of an epoch its record follows at once
        meters = stage["meters"]
        meters.end_block()
        metrics = {f"train/{name}": value for name, value in meters.compute().items()}
        self._write_training(stage, metrics)

    def after_epoch(self, stage: StageView) -> None:
        if stage.trainer.writers:
            self._write_training(stage, stage["train_metrics"])

    def before_eval(self, stage: StageView) -> None:
        self._eval_began = perf_counter()

    def after_eval(self, stage: StageView) -> None:
        self._since += perf_counter() - self._eval_began
        self.evaluations += 1
        if self.val_log_freq and self.evaluations % self.val_log_freq == 0:
            self._write(stage, stage.phase, stage[f"{stage.phase}_metrics"])

    def state_dict(self) -> dict[str, Any]:
        return {"evaluations": self.evaluations}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.evaluations = int(state["evaluations"])

    def _write_training(self, stage: StageView, metrics: Mapping[str, float]) -> None:
        # There is no loss in the stage yet where a run resumes at the end of an epoch.
        known = "train/loss" in metrics or "loss" not in stage
        loss = {} if known else {"train/loss": float(stage["loss"])}
        measured = {f"train/{name}": float(one) for name, one in stage.get("measured", {}).items()}
        rates, speed = _learning_rates(stage), self._speed(stage)
        items = self._items.values(stage, metrics)
        self._write(stage, "train", {**loss, **metrics, **measured, **rates, **items, **speed})

    def _write(self, stage: StageView, phase: str, values: Mapping[str, float]) -> None:
        record = LogRecord(phase, stage.name, stage.epoch, stage.step, values)
        for writer in stage.trainer.writers:
            writer.write(record)

    def _speed(self, stage: StageView) -> dict[str, float]:
        """Samples per second over all ranks since the record before, evaluations left out."""
        seconds = perf_counter() - self._since
        samples = (stage.clock.samples - self._samples) * stage.trainer.world.world_size
        self._restart_watch(stage)
        return {"samples/s": samples / seconds} if samples and seconds > 0 else {}

    def _restart_watch(self, stage: StageView) -> None:
        self._since, self._samples = perf_counter(), stage.clock.samples


def _learning_rates(stage: StageView) -> dict[str, float]:
    """`lr` where all groups have the same, else `lr/<group>`."""
    rates: dict[str, float] = {}
    optimizers = stage.trainer.optimizers
    for update, optimizer in optimizers.items():
        for place, group in enumerate(optimizer.param_groups):
            name = str(group.get("name") or place)
            rates[name if len(optimizers) == 1 else f"{update}/{name}"] = float(group["lr"])
    if len(set(rates.values())) == 1:
        return {"lr": next(iter(rates.values()))}
    return {f"lr/{name}": rate for name, rate in rates.items()}
