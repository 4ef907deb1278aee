"""Stochastic weight averaging: the plain mean of the weights along the end of a run.

From `start` on the weights are taken in after every `every` (epochs, or steps), and the mean is
what is evaluated. Its BatchNorm statistics belong to none of the weights that were averaged, so
they are measured anew before an evaluation; until then a checkpoint offers no average for use.
With `lr`, rates go there in `anneal_epochs` and stay, whatever a schedule says.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from cvtrainer.core.durations import Unit, parse_duration
from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.averaging import Averages, refuse_another_average, steps_before
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.batch_statistics import learning_norms, measure_batch_statistics


class SWAHook(BaseHook):
    """`batches` of the training split give the statistics; None takes all of them."""

    rank: ClassVar[Rank] = Rank.UPDATE

    def __init__(
        self,
        start: int | str = "75%",
        every: int | str = 1,
        lr: float | None = None,
        anneal_epochs: int = 10,
        anneal: Literal["cosine", "linear"] = "cosine",
        batches: int | None = None,
    ) -> None:
        if anneal not in ("cosine", "linear"):
            raise UserError(f'hooks.swa: anneal is {anneal!r}; it must be "cosine" or "linear"')
        for name, number, least in (("anneal_epochs", anneal_epochs, 0), ("batches", batches, 1)):
            if number is not None and number < least:
                raise UserError(f"hooks.swa: {name} is {number}; it must be {least} or more")
        if lr is not None and lr < 0:
            raise UserError(f"hooks.swa: lr is {lr}; it must be 0 or more")
        self.start = parse_duration(start)
        self.every = parse_duration(every)
        if self.every.unit is Unit.PERCENT or not self.every.amount.is_integer():
            raise UserError(
                f"hooks.swa: every is {every}; it must be a whole number of epochs or steps (100st)"
            )
        if self.every.amount < 1:
            raise UserError(f"hooks.swa: every is {every}; it must be 1 or more")
        self.lr = lr
        self.anneal_epochs = anneal_epochs
        self.anneal: Literal["cosine", "linear"] = anneal
        self.batches = batches
        self.taken = 0
        self.averages = Averages(with_buffers=False)
        self._measured = True
        self._rates: dict[str, list[float]] = {}
        self._begins_after = 0
        self._norms: list[_BatchNorm] = []

    def before_train(self, stage: StageView) -> None:
        refuse_another_average(stage)
        self._begins_after = steps_before(stage, self.start)
        self.averages.prepare(stage.trainer.networks, begin=False)

    def before_optimize(self, stage: StageView) -> None:
        """Here, because a schedule has set the rate of this step after the one before."""
        if self.lr is not None and stage.step >= self._begins_after:
            self._set_rates(stage)

    def after_step(self, stage: StageView) -> None:
        if self.every.unit is not Unit.STEPS or stage.phase != "train" or not stage.stepped:
            return
        since = stage.step - self._begins_after
        if since > 0 and since % self.every.amount == 0:
            self._take(stage)

    def after_epoch(self, stage: StageView) -> None:
        if self.every.unit is not Unit.EPOCHS:
            return
        since = stage.epoch - self._begins_after // stage.trainer.steps_per_epoch
        begun = stage.step > self._begins_after
        if begun and since % self.every.amount == 0:
            self._take(stage)

    def before_eval(self, stage: StageView) -> None:
        self._norms = learning_norms(stage)
        self.averages.trade_places()
        self._measure(stage)

    def after_eval(self, stage: StageView) -> None:
        self.averages.trade_places()

    def after_train(self, stage: StageView) -> None:
        """The last checkpoint of a stage that ran to its end offers the average."""
        trainer = stage.trainer
        limit = trainer.settings.max_steps
        complete = stage.clock.epochs_done >= stage["epochs"] or stage.step == limit
        if self._measured or not complete or stage.context.has("exception"):
            return
        self.averages.trade_places()
        try:
            self._measure(stage)
        except RunFailed as error:
            trainer.say(f"hooks.swa: the average's statistics could not be measured ({error})")
        finally:
            self.averages.trade_places()

    def state_dict(self) -> dict[str, Any]:
        usable = "averaged_weights" if self._measured else "unmeasured_weights"
        return {
            "taken": self.taken,
            "measured": self._measured,
            "rates": {update: list(rates) for update, rates in self._rates.items()},
            usable: self.averages.state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.taken = int(state["taken"])
        self._measured = bool(state["measured"])
        self._rates = {update: list(rates) for update, rates in state["rates"].items()}
        usable = "averaged_weights" if self._measured else "unmeasured_weights"
        self.averages.load(state[usable])

    def _take(self, stage: StageView) -> None:
        self.taken += 1
        for name in stage.trainer.networks:
            self.averages.follow(name, 1.0 / self.taken)
        self._norms = learning_norms(stage)
        self._measured = not self._norms

    def _measure(self, stage: StageView) -> None:
        """The average is in the networks now."""
        if self._measured or not self.averages.in_use:
            return
        measure_batch_statistics(stage, self._norms, batches=self.batches)
        self._measured = True

    def _set_rates(self, stage: StageView) -> None:
        assert self.lr is not None
        assert stage.update is not None
        groups = stage.trainer.optimizers[stage.update].param_groups
        if stage.update not in self._rates:
            self._rates[stage.update] = [float(group["lr"]) for group in groups]
        way = self._way(stage)
        for group, before in zip(groups, self._rates[stage.update], strict=True):
            rate = self.lr * way + before * (1.0 - way)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _way(self, stage: StageView) -> float:
        """How much of the way to `lr` is behind, from 0 to 1; it grows with each epoch."""
        if not self.anneal_epochs:
            return 1.0
        epochs = (stage.step - self._begins_after) // stage.trainer.steps_per_epoch
        share = min(1.0, epochs / self.anneal_epochs)
        return share if self.anneal == "linear" else (1.0 - math.cos(math.pi * share)) / 2.0
