"""The hook that judges a stage by the artefacts of its weights.

With the evaluations that `every` picks, the weights that evaluation uses (an average, where there
is one) are copied and examined; the best artefact that passes is kept, and its checkpoint is the
stage's best. The first process examines, the others wait at that border.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

from cvtrainer.core.errors import UserError
from cvtrainer.ddp.reduce import broadcast_object
from cvtrainer.deploy.planner.limits import KB, kib
from cvtrainer.engine.randomness import random_state, restore_random_state
from cvtrainer.engine.view import StageView
from cvtrainer.hooks import CheckpointHook
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.judging import is_better
from cvtrainer.jobs.gate.block import Block
from cvtrainer.jobs.gate.examining import Examiner, Verdict
from cvtrainer.jobs.gate.kept import KeptArtefacts
from cvtrainer.protocols import LogRecord, State

_PHASE = "deploy"


class DeployGate(BaseHook):
    """`examiner` makes what examines, once the stage's classes are known."""

    rank: ClassVar[Rank] = Rank.EVALUATE
    name = _PHASE

    def __init__(
        self, block: Mapping[str, Any], folder: Path, examiner: Callable[[State, Block], Examiner]
    ) -> None:
        self.block = Block.of(block)
        self.best: float | None = None
        self.best_epoch: int | None = None
        self._kept = KeptArtefacts(folder)
        self._make = examiner
        self._examiner: Examiner | None = None
        self._periods = 0
        self._examined = 0
        self._changed = False
        self._taken = False
        self._began = self._spent = 0.0

    def before_train(self, stage: StageView) -> None:
        trainer = stage.trainer
        where = f"stages.{stage.name}.deploy"
        if "val" not in trainer.streams:
            raise UserError("artefacts are measured on the val split; there is none", where=where)
        if trainer.plan.sharded_checkpoints or trainer.plan.lockstep:
            raise UserError("weights in pieces cannot be exported while they train", where=where)
        keeper = self._keeper(stage)
        keeper.leave_judging(anew=self.best is None)
        self._began, self._spent = perf_counter(), 0.0
        if trainer.world.rank:
            return
        self._kept.go_on()
        if self._changed:
            earlier = self._kept.set_aside()
            where = "" if earlier is None else f"; that artefact is in {earlier.as_posix()}"
            trainer.say(f"{_PHASE}: the block has changed, so what was best counts no more{where}")
            self._changed = False
        with _drawing_nothing():
            self._examiner = self._make(trainer.settings.facts, self.block)
            self._examiner.take(trainer.networks)
            self._examiner.refuse_early(self._kept.candidate, keeper.metric_name)

    def before_eval(self, stage: StageView) -> None:
        if stage.phase != "val" or "epochs" not in stage or not self._is_due(stage):
            return
        self._taken = True
        if self._examiner is not None:
            with _drawing_nothing():
                self._examiner.take(stage.trainer.networks)

    def after_eval(self, stage: StageView) -> None:
        if stage.phase != "val" or not self._taken:
            return
        self._taken = False
        trainer = stage.trainer
        verdict, began = None, perf_counter()
        trainer.borders.rest()
        if self._examiner is not None:
            with _drawing_nothing():
                judge = self._keeper(stage).metric_name
                place = {"stage": stage.name, "epoch": stage.epoch, "step": stage.step}
                verdict = self._examiner.examined(self._kept.candidate, judge, place)
        verdict = broadcast_object(verdict, trainer.world)
        trainer.borders.work()
        self._examined += 1
        self._spent += perf_counter() - began
        self._publish(stage, verdict)
        is_best = self._is_best(stage, verdict)
        self._write(stage, verdict, perf_counter() - began, best=is_best)
        if trainer.world.rank == 0:
            self._kept.sort_in(stage.step, passes=verdict.passes, best=is_best)
        if is_best:
            self.best, self.best_epoch = verdict.value, stage.epoch
            self._keeper(stage).keep_best(stage, f"{_PHASE}/{verdict.metric}", verdict.value)

    def before_save(self, stage: StageView) -> None:
        if self._saves_the_best(stage):
            self._kept.saving()

    def after_save(self, stage: StageView) -> None:
        """The best artefact takes its place when the checkpoint that knows of it is whole."""
        if self._saves_the_best(stage):
            self._kept.publish(move=stage.trainer.world.rank == 0)

    def after_train(self, stage: StageView) -> None:
        if self._examiner is not None:
            self._examiner.close()
            self._examiner = None
        if stage.context.has("exception"):
            return
        if self.best is not None:
            told = f"epoch {self.best_epoch}: {self._kept.best.as_posix()}"
            stage.trainer.say(f"{_PHASE}: the best artefact is of {told}")
        elif self._examined:
            stage.trainer.say(
                f"{_PHASE}: no artefact has passed, so none is kept as the best; the last one is "
                f"in {self._kept.failed.as_posix()}"
            )
        else:
            stage.trainer.say(
                f"{_PHASE}: the stage ended before an artefact was due, so there is none; "
                "cvtrainer export makes one of its weights"
            )

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "periods": self._periods,
            "examined": self._examined,
            "judged_by": self.block.judged_by,
            **self._kept.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        self._periods = int(state["periods"])
        self._examined = int(state.get("examined", 0))
        now = self.block.judged_by
        self._changed = state.get("judged_by", now) != now
        if self._changed:
            self.best = self.best_epoch = None
        self._kept.load_state_dict(state)

    def _is_due(self, stage: StageView) -> bool:
        """Whether `every` has passed since the last time, or the stage ends here."""
        trainer, clock = stage.trainer, stage.clock
        epochs = clock.epoch - 1 + clock.batch / max(1, len(trainer.streams["train"]))
        passed = self.block.periods(epochs=epochs, steps=clock.step)
        limit = trainer.settings.max_steps
        ends = epochs >= stage["epochs"] or (limit is not None and clock.step >= limit)
        due = passed > self._periods or ends
        self._periods = passed
        return due

    def _is_best(self, stage: StageView, verdict: Verdict) -> bool:
        metric = f"{_PHASE}/{verdict.metric}"
        mode = self._keeper(stage).mode
        return verdict.passes and is_better(
            verdict.value, self.best, metric=metric, mode=mode, stage=stage
        )

    def _saves_the_best(self, stage: StageView) -> bool:
        path: Path = stage["checkpoint_path"]
        return self._keeper(stage).names.best_pattern.fullmatch(path.name) is not None

    def _keeper(self, stage: StageView) -> CheckpointHook:
        """Who keeps the checkpoints; no stage is without."""
        hooks = stage.trainer.hooks.values()
        return next(hook for hook in hooks if isinstance(hook, CheckpointHook))

    def _publish(self, stage: StageView, verdict: Verdict) -> None:
        named = {f"{_PHASE}/{name}": value for name, value in verdict.metrics.items()}
        stage["deploy_metrics"] = named
        stage["metrics"] = {**stage.get("metrics", {}), **named}

    def _write(self, stage: StageView, verdict: Verdict, seconds: float, *, best: bool) -> None:
        trainer = stage.trainer
        share = self._spent / max(self._spent, perf_counter() - self._began)
        values = {
            **stage["deploy_metrics"],
            "deploy/worst_drop": verdict.worst_drop,
            "deploy/agreement": verdict.agreement,
            "deploy/samples": float(verdict.samples),
            "deploy/size_kb": verdict.size_bytes / KB,
            "deploy/passes": float(verdict.passes),
            "deploy/best": float(best),
            "deploy/seconds": seconds,
            "deploy/time_share": share,
        }
        if verdict.latency_ms is not None:
            values["deploy/latency_ms"] = verdict.latency_ms
        record = LogRecord(_PHASE, stage.name, stage.epoch, stage.step, values)
        for writer in trainer.writers:
            writer.write(record)
        trainer.say(self._line(verdict, seconds, share, best=best))

    def _line(self, verdict: Verdict, seconds: float, share: float, *, best: bool) -> str:
        """One line for the person who watches."""
        of = f"{verdict.samples:,}"
        if verdict.whole is not None:
            of += f" of {verdict.whole:,}"
        end = "passes, the best so far" if best else "passes"
        if not verdict.passes:
            end = f"does not pass: {'; '.join(verdict.failures)}"
        return (
            f"{_PHASE}: {self.block.target} {self.block.precision} on {of} samples, "
            f"{kib(verdict.size_bytes)}; {end}; {seconds:.1f} s, {share:.0%} of the time so far"
        )


@contextmanager
def _drawing_nothing() -> Iterator[None]:
    """Training's generators go on as if nothing had been drawn."""
    drawn = random_state()
    try:
        yield
    finally:
        restore_random_state(drawn)
