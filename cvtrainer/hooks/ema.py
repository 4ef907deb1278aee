"""An exponential moving average of weights and buffers, used for evaluation.

Once per optimizer step `average = decay * average + (1 - decay) * weights`; counters and other
whole-number buffers are copied. Before an evaluation the average trades places with the weights,
after it they trade back. The average and its counter are saved and resumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from torch import nn

from cvtrainer.core.durations import parse_duration
from cvtrainer.core.errors import UserError
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.averaging import Averages, refuse_another_average, steps_before
from cvtrainer.hooks.base import BaseHook, Rank


class EMAHook(BaseHook):
    """It follows every `every`-th step after `start`; until then the weights are evaluated.

    With `warmup` the n-th update decays by at most `(1 + n) / (10 + n)`, so that a short run does
    not remember its random beginning. With `networks` only those of the task are
    averaged.
    """

    rank: ClassVar[Rank] = Rank.UPDATE

    def __init__(
        self,
        decay: float = 0.999,
        every: int = 1,
        start: int | str = 0,
        warmup: bool = False,
        networks: Sequence[str] | None = None,
    ) -> None:
        if not 0.0 <= decay < 1.0:
            raise UserError(f"hooks.ema: decay is {decay}; it must lie in [0, 1)")
        if every < 1:
            raise UserError(f"hooks.ema: every is {every}; it must be 1 step or more")
        self.decay = decay
        self.every = every
        self.start = parse_duration(start)
        self.warmup = warmup
        self.networks = None if networks is None else list(networks)
        self.updates = 0
        self.averages = Averages(with_buffers=True)
        self._steps: dict[str, int] = {}
        self._begins_after = 0
        self._networks_of: dict[str, list[str]] = {}

    def before_train(self, stage: StageView) -> None:
        refuse_another_average(stage)
        trainer = stage.trainer
        self._begins_after = steps_before(stage, self.start)
        averaged = self._averaged(trainer.networks)
        self.averages.prepare(averaged, begin=self._begins_after == 0)
        self._networks_of = {
            update.name: [name for name in update.networks if name in averaged]
            for update in trainer.task.updates()
        }

    def after_optimize(self, stage: StageView) -> None:
        assert stage.update is not None
        if stage.step < self._begins_after or not self._networks_of[stage.update]:
            return
        taken = self._steps[stage.update] = self._steps.get(stage.update, 0) + 1
        if taken % self.every:
            return
        share = 1.0 - self._decay_at(taken // self.every)
        for name in self._networks_of[stage.update]:
            self.averages.follow(name, share)
        self.updates += 1

    def before_eval(self, stage: StageView) -> None:
        self.averages.trade_places()

    def after_eval(self, stage: StageView) -> None:
        self.averages.trade_places()

    def state_dict(self) -> dict[str, Any]:
        return {
            "updates": self.updates,
            "steps": dict(self._steps),
            "averaged_weights": self.averages.state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = int(state["updates"])
        self._steps = dict(state["steps"])
        self.averages.load(state["averaged_weights"])

    def _averaged(self, networks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
        if self.networks is None:
            return dict(networks)
        for name in self.networks:
            if name not in networks:
                raise UserError(
                    f"networks names {name!r}; the stage has {', '.join(networks)}",
                    where="hooks.ema",
                )
        return {name: networks[name] for name in self.networks}

    def _decay_at(self, update: int) -> float:
        return min(self.decay, (1 + update) / (10 + update)) if self.warmup else self.decay
