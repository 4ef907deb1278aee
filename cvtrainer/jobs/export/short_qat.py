"""The ladder's rung that trains: some epochs of the run's own task and data, with rounding.

Weights begin as the run left them, rates at a tenth of the config's and fall to zero. Nothing is
written; techniques of the stage (averages, precision, schedules) are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from cvtrainer.core.durations import parse_duration
from cvtrainer.core.errors import UserError
from cvtrainer.core.schema import QUANTISE
from cvtrainer.ddp.world import World
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.engine.hand_over import Wish, hand_over
from cvtrainer.engine.view import StageView
from cvtrainer.experiment import Surroundings
from cvtrainer.experiment.aware import WORD
from cvtrainer.hooks.averaging import steps_before
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.jobs.export.aware import rounded_program
from cvtrainer.jobs.export.graph import Graph
from cvtrainer.jobs.load import Trained

_SHARE = 0.1
"""Of the config's learning rate: the weights are nearly where they belong."""


class ShortTraining:
    """Gives the program that comes out of so many epochs."""

    def __init__(
        self,
        trained: Trained,
        graph_of: Callable[[Trained], Graph],
        x: Tensor,
        *,
        name: str,
        free: Collection[int] = (),
        epochs: int,
        say: Callable[[str], None],
    ) -> None:
        self._trained = trained
        self._graph_of = graph_of
        self._x = x
        self._name = name
        self._free = free
        self._epochs = epochs
        self._say = say

    @property
    def label(self) -> str:
        """What the rung is called."""
        noun = "epoch" if self._epochs == 1 else "epochs"
        return f"{self._epochs} {noun} of training with rounding"

    def program(self, scheme: Scheme) -> Program:
        """Trained anew each time; the run's weights stay as they are."""
        trained, stage = self._trained, self._stage(scheme)
        if not (stage.get("dataloader") or {}).get("train") or not stage.get("optimizer"):
            raise UserError(
                "the stage has no training data or no optimizer, so it cannot be trained on",
                where="--qat",
                todo="Leave it out.",
            )
        around = Surroundings(
            run=None,
            world=World(),
            device=str(trained.device),
            classes=trained.classes,
            learnt=trained.state.get("learnt"),
            phases=("train",),
            begins=False,
            say=self._say,
            adapt_hooks=lambda hooks: [*(one for one in hooks if one.name == WORD), _FallingRate()],
        )
        trainer = trained.experiment.trainer(stage, around)
        try:
            source = str(trained.checkpoint)
            hand_over(trainer.networks, trained.state, Wish(), source=source).insist()
            trainer.train(self._epochs)
        finally:
            for stream in trainer.streams.values():
                stream.close()
        trainer.task.replace(trainer.networks)
        for network in trainer.networks.values():
            network.eval()
        again = replace(trained, task=trainer.task)
        words: dict[str, Any] = {"name": self._name, "free": self._free}
        program = rounded_program(again, self._graph_of(again), self._x, **words)
        assert program is not None
        return program

    def _stage(self, scheme: Scheme) -> dict[str, Any]:
        usual = {key.name: key.default for key in QUANTISE.values()}
        asked = {"quantizer": scheme.tool, "method": scheme.method, "symmetric": scheme.symmetric}
        stage = {**self._trained.stage, WORD: {**usual, **asked, "float": [*scheme.float_layers]}}
        return {**stage, "hooks": [], "max_steps": None, "epochs": self._epochs}


class _FallingRate(BaseHook):
    """A tenth of each group's rate, and in a straight line to zero."""

    rank: ClassVar[Rank] = Rank.ADVANCE
    name = "falling_rate"

    def __init__(self) -> None:
        self._rates: list[tuple[dict[str, Any], float]] = []
        self._steps = 1

    def before_train(self, stage: StageView) -> None:
        self._steps = max(1, steps_before(stage, parse_duration("100%")))
        self._rates = [
            (group, float(group["lr"]) * _SHARE)
            for optimizer in stage.trainer.optimizers.values()
            for group in optimizer.param_groups
        ]
        self._set(0)

    def after_step(self, stage: StageView) -> None:
        if stage.phase == "train":
            self._set(stage.step)

    def _set(self, step: int) -> None:
        for group, rate in self._rates:
            group["lr"] = rate * max(0.0, 1 - step / self._steps)
