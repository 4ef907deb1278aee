"""Ends a run whose loss or gradients are no longer numbers, before that reaches a checkpoint.

The loop never waits for it: what each step gave is kept on the device and read when a log line is
due, at the end of an epoch, and before a checkpoint is written, which waits for the device anyway.
Weights are looked at there as well. The last checkpoint is therefore whole, and because a resume is
exact, it and the number of the step are all that is needed to see it happen again: they are left in
the run folder as a crash capsule, from which `cvtrainer replay` finds the layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.ddp.pieces import put_together
from cvtrainer.engine.capsule import write_capsule
from cvtrainer.engine.plan import Plan
from cvtrainer.engine.view import StageView
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.logger import LoggerHook

KINDS = ("loss", "gradients")
USUAL_FREQUENCY = 10
MOST_STEPS = 1000
"""Steps that are kept at most where log lines are rarer or absent."""


class _Kept(NamedTuple):
    """A value of a batch, with the number of the step it went into and its own in the epoch."""

    what: str
    step: int
    batch: int
    value: Tensor


class NanGuardHook(BaseHook):
    """`check` names what is kept of each step; gradients cost a pass over them.

    Gradients in float16 overflow now and then, and their scaler leaves such steps out by itself:
    they are not looked at where there is one.
    """

    rank: ClassVar[Rank] = Rank.EVALUATE

    def __init__(self, check: Sequence[str] = ("loss",)) -> None:
        self.check = (check,) if isinstance(check, str) else tuple(check)
        unknown = [one for one in self.check if one not in KINDS]
        if unknown or not self.check:
            raise UserError(
                f"hooks.nan_guard: check is {list(self.check)}; it may hold {' and '.join(KINDS)}"
            )
        self._parameters: dict[str, list[nn.Parameter]] = {}
        self._kept: list[_Kept] = []
        self._looked = 0
        self._every = USUAL_FREQUENCY
        self._resumed = 0
        self._saving = 0
        self._saved: str | None = None

    def configure(self, plan: Plan) -> None:
        plan.guarded |= "loss" in self.check

    def before_train(self, stage: StageView) -> None:
        trainer = stage.trainer
        self._parameters = {
            update.name: [
                parameter
                for name in update.networks
                for parameter in trainer.networks[name].parameters()
            ]
            for update in trainer.task.updates()
        }
        loggers = [hook for hook in trainer.hooks.values() if isinstance(hook, LoggerHook)]
        steps = [hook.train_log_freq or MOST_STEPS for hook in loggers] or [USUAL_FREQUENCY]
        self._every = min(*steps, MOST_STEPS)
        self._kept.clear()
        self._looked = self._resumed = stage.step

    def before_optimize(self, stage: StageView) -> None:
        """After the hooks of rank UPDATE have made gradients final, before they are clipped."""
        if "gradients" not in self.check or stage.trainer.plan.scaler is not None:
            return
        assert stage.update is not None
        gradients = [one.grad for one in self._parameters[stage.update] if one.grad is not None]
        largest = put_together(nn.utils.get_total_norm(gradients, float("inf")))
        self._kept.append(_Kept("a gradient", stage.step + 1, stage.clock.batch + 1, largest))

    def after_step(self, stage: StageView) -> None:
        if stage.phase != "train":
            return
        if "loss" in self.check:
            step = stage.step if stage.stepped else stage.step + 1
            self._kept.append(_Kept("the loss", step, stage.clock.batch, stage["loss"].detach()))
        if stage.stepped and stage.step % self._every == 0:
            self._look(stage)

    def after_epoch(self, stage: StageView) -> None:
        self._look(stage)

    def before_save(self, stage: StageView) -> None:
        self._look(stage)
        batch = stage.clock.batch
        weights = [_Kept("a weight", stage.step, batch, one) for one in _weights(stage)]
        self._refuse(stage, weights, since=stage.step)
        self._saving = stage.step

    def after_save(self, stage: StageView) -> None:
        self._saved = f"the last checkpoint is {stage['checkpoint_path']} of step {self._saving}"

    def _look(self, stage: StageView) -> None:
        kept, self._kept = self._kept, []
        since, self._looked = self._looked + 1, stage.step
        self._refuse(stage, kept, since=since)

    def _refuse(self, stage: StageView, values: Sequence[_Kept], *, since: int) -> None:
        """The one place that waits for the device."""
        if not values:
            return
        finite = [put_together(torch.isfinite(one.value).all()) for one in values]
        good = torch.stack(finite).tolist()
        if all(good):
            return
        what, step, batch, value = values[good.index(False)]
        kind = "NaN" if bool(put_together(torch.isnan(value).any())) else "infinite"
        told = f"{what} became {kind}"
        capsule = write_capsule(stage.trainer, told, step=step, batch=batch)
        looked = f" (looked at steps {since} to {stage.step})" if since < stage.step else ""
        raise RunFailed(
            f"{told} at step {step} in epoch {stage.epoch}{looked}; {self._way_back()}",
            where="hooks.nan_guard",
            todo=f"Run `cvtrainer replay {stage.trainer.run.path}` to see where it begins."
            if capsule is not None
            else "Go on with a lower learning rate, clipping or higher precision.",
        )

    def _way_back(self) -> str:
        if self._saved:
            return self._saved
        if self._resumed:
            return f"no checkpoint is newer than the one of step {self._resumed} it resumed from"
        return "no checkpoint was saved yet"


def _weights(stage: StageView) -> list[Tensor]:
    """Parameters only: a buffer may hold an infinity on purpose, as masks do."""
    networks = stage.trainer.networks.values()
    return [parameter.detach() for network in networks for parameter in network.parameters()]
