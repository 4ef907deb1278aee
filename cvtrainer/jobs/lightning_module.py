"""The LightningModule of a stage; the only file that knows pytorch-lightning.

It computes with the stage's task and moves its optimizers and schedules when Lightning says so.
Lightning does everything else: zeroing, the backward pass, clipping, gathering, precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytorch_lightning
from torch import Tensor, nn

from cvtrainer.engine.binding import batch_size
from cvtrainer.engine.stage import OptimizerFactory
from cvtrainer.hooks import LRSchedulerHook
from cvtrainer.optim.schedules import Length, Schedule, build_schedule
from cvtrainer.protocols import Batch, Stream, Task


class EpochLoader:
    """A stream as Lightning asks for it: begun anew for each epoch."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.epoch: Callable[[], int] = lambda: 1

    def __len__(self) -> int:
        return len(self.stream)

    def __iter__(self) -> Iterator[Batch]:
        return self.stream.epoch(self.epoch())


class StageModule(pytorch_lightning.LightningModule):
    """One optimizer goes Lightning's automatic way; several take turns as they are due."""

    def __init__(
        self,
        task: Task,
        optimizers: OptimizerFactory,
        schedulers: Sequence[LRSchedulerHook],
        length: Length,
        streams: Mapping[str, Stream],
    ) -> None:
        super().__init__()
        self.task = task
        self.networks = nn.ModuleDict(dict(task.networks))
        criterion = getattr(task, "criterion", None)
        self.criterion = criterion if isinstance(criterion, nn.Module) else None
        self.automatic_optimization = len(task.updates()) == 1
        self._optimizer_factory = optimizers
        self._scheduler_hooks = list(schedulers)
        self._run_length = length
        self._data = dict(streams)
        self._schedules: list[Schedule] = []
        self._steps = 0

    def configure_optimizers(self) -> Any:
        """Optimizers by update, each with its schedules in Lightning's form."""
        made = self._optimizer_factory(self.task.networks)
        schedules = [
            self._schedule(hook, optimizer)
            for hook in self._scheduler_hooks
            for name, optimizer in made.items()
            if hook.update in (None, name)
        ]
        return list(made.values()), schedules

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """What the stream does to a batch on the device."""
        return self._data["train" if self.trainer.training else "val"].finish(batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """The loss, or with several optimizers their turns."""
        updates = self.task.updates()
        if self.automatic_optimization:
            loss = updates[0].compute(batch).loss
            self.log("train/loss", loss, batch_size=batch_size(batch))
            return loss
        for update, optimizer in zip(updates, self._own_optimizers(), strict=True):
            if self._steps % update.every:
                continue
            optimizer.zero_grad()
            loss = update.compute(batch).loss
            self.manual_backward(loss)
            optimizer.step()
            self.log(f"train/{update.name}", loss, batch_size=batch_size(batch))
        return None

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The loss on held-out data."""
        self.log("val/loss", self.task.evaluate(batch).loss, batch_size=batch_size(batch))

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """What Lightning does not know of: warm-ups under schedules that count epochs."""
        if self.automatic_optimization and self.global_step == self._steps:
            return
        self._steps = self.global_step if self.automatic_optimization else self._steps + 1
        for schedule in self._schedules:
            if schedule.unit == "epoch" or schedule.needs_metric:
                schedule.warm_up()
            elif not self.automatic_optimization:
                schedule.advance()

    def on_train_epoch_end(self) -> None:
        """Where several optimizers take turns, Lightning leaves their schedules to us."""
        for schedule in self._schedules:
            if schedule.unit == "epoch" and not self.automatic_optimization:
                schedule.advance()

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        """Called by Lightning after an optimizer step, an epoch or an evaluation."""
        (schedule,) = [one for one in self._schedules if one.scheduler is scheduler]
        schedule.advance(None if metric is None else float(metric), "min")

    def _own_optimizers(self) -> list[Any]:
        found = self.optimizers()
        return found if isinstance(found, list) else [found]

    def _schedule(self, hook: LRSchedulerHook, optimizer: Any) -> dict[str, Any]:
        schedule = build_schedule(
            optimizer,
            hook.scheduler_type,
            hook.scheduler_kwargs,
            unit=hook.by,
            length=self._run_length,
        )
        self._schedules.append(schedule)
        words: dict[str, Any] = {"scheduler": schedule.scheduler, "interval": hook.by}
        if schedule.needs_metric:
            words |= {"interval": "epoch", "monitor": "val/loss", "reduce_on_plateau": True}
        return words
