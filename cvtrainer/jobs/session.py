"""The stages of a run, one after the other: what each is given, and what it leaves for the next.

A stage begins anew (generators, optimizer, schedules, averages) with the weights that `init_from`
names, or it goes on from a checkpoint. What was said before its loggers are open is said then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cvtrainer.core.compile import CompiledConfig
from cvtrainer.core.seeds import mix
from cvtrainer.deploy.quiet import quiet
from cvtrainer.engine.capsule import capsule_on_error
from cvtrainer.engine.randomness import seed_everything
from cvtrainer.experiment import Experiment, Surroundings
from cvtrainer.jobs.changed_config import tell_changes
from cvtrainer.jobs.interrupt import stopping_at_a_border
from cvtrainer.jobs.resume import Start
from cvtrainer.jobs.resumed_rates import KEEP, rates_of, set_rates
from cvtrainer.jobs.stages_done import StagesDone
from cvtrainer.jobs.take_over import left_by, needed_later, take_over, what_is_left
from cvtrainer.logger import Writers
from cvtrainer.protocols import State
from cvtrainer.trainer import Trainer


class Session:
    """One run of stages."""

    def __init__(self, compiled: CompiledConfig, around: Surroundings) -> None:
        self.experiment = Experiment(compiled.path)
        self.config: dict[str, Any] = compiled.resolved
        self.stages: list[dict[str, Any]] = compiled.resolved["stages"]
        self.around = around
        around.say = self.say
        self.trainer: Trainer | None = None
        self.takes_up = False
        """Whether the run's folder holds what an earlier start of it has written."""
        self.changes_untold = True
        self.resume_lr: str | float = KEEP
        self.notes = list(compiled.notes)
        self.left: dict[str, State] = {}

    def run_stage(
        self, stage: Mapping[str, Any], start: Start | None
    ) -> tuple[dict[str, float], list[Path]]:
        """One stage from its objects to its last checkpoint; its metrics and what it saved."""
        around = self.around
        assert around.run is not None
        done = StagesDone(around.run)
        writers = Writers(self.experiment.writers(stage) if around.world.rank == 0 else ())
        around.writers = (writers,) if len(writers) else ()
        trainer = self.prepare(stage, start)
        if around.world.rank == 0:
            done.forget(self._from(stage))
            if self.takes_up and self.changes_untold:
                tell_changes(around.run, self.config, self.say)
                self.changes_untold = False
        goes_on = start is not None or self.takes_up
        writers.open(around.run, trainer.clock.step if goes_on else None, stage["name"])
        try:
            self.trainer = trainer
            for note in self.notes:
                trainer.say(note)
            self.notes.clear()
            trainer.say(_headline(stage, trainer, start))
            began = trainer.clock.batches
            with stopping_at_a_border(trainer), capsule_on_error(trainer):
                trainer.train(epochs_of(stage, trainer))
            if start is not None and trainer.clock.batches == began:
                trainer.say(f"stage {stage['name']}: nothing was left to train")
        finally:
            self.trainer = None
            writers.close()
            for stream in trainer.streams.values():
                stream.close()
        if needed_later(stage, self.stages):
            self.left[stage["name"]] = what_is_left(trainer)
        if around.world.rank == 0:
            done.note(stage, trainer.clock.state_dict())
        return dict(trainer.context.get("metrics", {})), trainer.saved

    def prepare(self, stage: Mapping[str, Any], start: Start | None) -> Trainer:
        """The stage's parts, where it begins or goes on."""
        around = self.around
        known = start.state if start is not None else {}
        around.classes, around.learnt = known.get("classes"), known.get("learnt")
        around.begins = start is None
        around.world.pulse.stuck_after = stage["ddp"]["stuck_after"]
        seed_everything(around.seed, deterministic=self.config["deterministic"])
        around.left_by = left_by(stage, self.stages, left=self.left, run=around.run, say=self.say)
        around.more_hooks = self._gate(stage)
        trainer = self.experiment.trainer(stage, around)
        if around.world.rank:  # weights start alike, but each rank draws masks of its own
            seed_everything(mix(around.seed, around.world.rank))
        if start is not None:
            fresh = rates_of(trainer)
            trainer.load_state_dict(start.state, source=str(start.path))
            trainer.context.set("resumed_from", str(start.path))
            trainer.context.set("resume_lr", self.resume_lr)
            set_rates(trainer, self.resume_lr, fresh, self.say)
        elif stage["init_from"]:
            take_over(trainer, stage, self.stages, left=self.left, run=around.run, say=self.say)
        return trainer

    def say(self, text: str) -> None:
        """Tell it through the stage's writers, as soon as they are open."""
        if self.trainer is None:
            self.notes.append(text)
        else:
            self.trainer.say(text)

    def _gate(self, stage: Mapping[str, Any]) -> Sequence[Any]:
        """What judges the stage by its artefacts, where it says so."""
        if not stage.get("deploy"):
            return ()
        with quiet():
            from cvtrainer.jobs.gate import gate_of

        assert self.around.run is not None
        folder = self.around.run.artifacts
        several = len(self.stages) > 1
        return (gate_of(stage, self.experiment, folder / stage["name"] if several else folder),)

    def _from(self, stage: Mapping[str, Any]) -> Sequence[str]:
        """This stage and those behind it."""
        names = [one["name"] for one in self.stages]
        return names[names.index(stage["name"]) :]


def epochs_of(stage: Mapping[str, Any], trainer: Trainer) -> int:
    """Epochs in all; where only steps are given, as many as they reach into."""
    if stage["epochs"] is not None:
        return int(stage["epochs"])
    stream = trainer.streams.get("train")
    return math.ceil(stage["max_steps"] / trainer.steps_per_epoch) if stream else 0


def _length(stage: Mapping[str, Any]) -> str:
    parts = [f"{stage['epochs']} epochs"] if stage["epochs"] is not None else []
    parts += [f"{stage['max_steps']:,} steps"] if stage["max_steps"] is not None else []
    return " or ".join(parts)


def _headline(stage: Mapping[str, Any], trainer: Trainer, start: Start | None) -> str:
    parameters = sum(one.numel() for one in trainer.model.parameters())
    sizes = ", ".join(f"{phase} {stream.samples:,}" for phase, stream in trainer.streams.items())
    text = (
        f"stage {stage['name']}: {parameters:,} parameters, samples: {sizes}, "
        f"{_length(stage)} on {trainer.plan.device}"
    )
    if trainer.world.world_size > 1:
        text += f", {trainer.world.world_size} processes"
    if start is not None:
        text += f"; continuing from {start.path} (epoch {trainer.clock.epoch})"
    return text
