"""Train what a config describes: its stages in order, in one process or several.

Also `cvtrainer.train(config)`. The job opens the run folder, hands weights from stage to stage
and says what came out; how a stage trains is the trainer's business.
"""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from cvtrainer.core.compile import CompiledConfig, compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.core.seeds import mix
from cvtrainer.ddp.launch import Nodes
from cvtrainer.ddp.reduce import broadcast_object
from cvtrainer.ddp.world import World, joined_world
from cvtrainer.engine.capsule import capsule_on_error
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.randomness import seed_everything
from cvtrainer.engine.weights import load_weights, weights_for_use
from cvtrainer.experiment import Experiment, Surroundings
from cvtrainer.jobs.interrupt import stopping_at_a_border
from cvtrainer.jobs.launched import run_of_launch, train_in_ranks
from cvtrainer.jobs.resume import Start, find_start
from cvtrainer.jobs.run_checkpoints import newest_checkpoint
from cvtrainer.logger import Writers
from cvtrainer.protocols import State
from cvtrainer.trainer import Trainer

Config = str | Path | Mapping[str, Any]


@dataclass
class TrainResult:
    """What came out, and where it lies."""

    run: Path
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    checkpoints: list[Path] = field(default_factory=list)
    rank: int = 0
    """Other than 0 where another process tells what came out."""

    def as_plain(self) -> dict[str, Any]:
        """For a file that another process reads."""
        return {
            "run": str(self.run),
            "metrics": self.metrics,
            "checkpoints": [str(path) for path in self.checkpoints],
        }

    @classmethod
    def from_plain(cls, found: Mapping[str, Any] | None) -> TrainResult:
        """What such a file says; without one the first rank has run on another machine."""
        if found is None:
            return cls(Path(), rank=-1)
        return cls(
            Path(found["run"]), found["metrics"], [Path(path) for path in found["checkpoints"]]
        )


def train(
    config: Config,
    *,
    overrides: Sequence[str] = (),
    resume: str | None = None,
    num_gpus: int | None = None,
    run_dir: str | Path | None = None,
    nodes: Nodes | None = None,
) -> TrainResult:
    """Train; `resume` is a checkpoint's path or `auto`, `num_gpus` overrides `ddp.num_gpus`.

    `nodes` says which other machines take part.
    """
    words = [*overrides, *([f"dir={run_dir}"] if run_dir is not None else [])]
    compiled = compile_config(config, words)
    resolved = compiled.resolved
    processes = num_gpus or _wanted_processes(resolved)
    nodes = nodes or Nodes()
    if (processes > 1 or nodes.most > 1) and not World.launched():
        found = train_in_ranks(
            config, words, resolved, processes=processes, resume=resume, nodes=nodes
        )
        return TrainResult.from_plain(found)
    with joined_world(str(resolved["device"])) as world:
        return _train_here(compiled, resume, world)


def train_otherwise(
    compiled: CompiledConfig, adapt: Callable[[Surroundings], None], *, resume: str | None = None
) -> TrainResult:
    """Train in this process with what `adapt` makes of the surroundings: rehearsals, searches."""
    with joined_world(str(compiled.resolved["device"])) as world:
        return _train_here(compiled, resume, world, adapt)


def _wanted_processes(config: Mapping[str, Any]) -> int:
    return max(
        (int(stage["ddp"]["num_gpus"]) for stage in config["stages"] if stage["ddp"]["enabled"]),
        default=1,
    )


def _train_here(
    compiled: CompiledConfig,
    resume: str | None,
    world: World,
    adapt: Callable[[Surroundings], None] | None = None,
) -> TrainResult:
    """All stages, in this process (one of several, perhaps)."""
    config = compiled.resolved
    seed_everything(config["seed"], deterministic=config["deterministic"])
    say = _print if world.rank == 0 else _silence
    before = run_of_launch(config, world.launch, say)
    start = before[1] if before is not None else None
    if resume and start is None:
        start = find_start(resume, config, say, hold=world.rank == 0)
    if resume and start is None:
        say("resume: no checkpoint of this config was found; starting from the beginning")
    names = [stage["name"] for stage in config["stages"]]
    if start is not None and start.stage not in names:
        raise UserError(
            f"it is from stage {start.stage!r}; this config has {', '.join(names)}",
            where=str(start.path),
        )
    run = _open_run(config, before[0] if before else start.run if start else None, world)
    session = Session(
        compiled,
        Surroundings(run=run, world=world, seed=config["seed"], device=config["device"], say=say),
    )
    session.takes_up = before is not None
    if adapt is not None:
        adapt(session.around)
    result = TrainResult(run.path, rank=world.rank)
    first = names.index(start.stage) if start is not None else 0
    try:
        for place, stage in enumerate(config["stages"][first:]):
            folder = run.checkpoints / stage["name"] if len(names) > 1 else run.checkpoints
            session.around.checkpoints = folder
            metrics, saved = session.run_stage(stage, start if place == 0 else None)
            result.metrics[stage["name"]] = metrics
            result.checkpoints += [path for path in saved if path.exists()]
            gc.collect()  # a stage's parts know each other; the next one may need their memory
    finally:
        run.close()
    return result


class Session:
    """One run of stages: what each leaves for the next."""

    def __init__(self, compiled: CompiledConfig, around: Surroundings) -> None:
        self.experiment = Experiment(compiled.path)
        self.stages: list[dict[str, Any]] = compiled.resolved["stages"]
        self.around = around
        around.say = self._say
        self.trainer: Trainer | None = None
        self.takes_up = False
        """Whether the run's folder holds what an earlier start of it has written."""
        self.notes = list(compiled.notes)
        self.weights: dict[str, Mapping[str, Tensor]] = {}

    def run_stage(
        self, stage: Mapping[str, Any], start: Start | None
    ) -> tuple[dict[str, float], list[Path]]:
        """One stage from its objects to its last checkpoint; its metrics and what it saved."""
        around = self.around
        assert around.run is not None
        writers = Writers(self.experiment.writers(stage) if around.world.rank == 0 else ())
        around.writers = (writers,) if len(writers) else ()
        trainer = self.prepare(stage, start)
        goes_on = start is not None or self.takes_up
        writers.open(around.run, trainer.clock.step if goes_on else None, stage["name"])
        try:
            self.trainer = trainer
            for note in self.notes:
                trainer.say(note)
            self.notes.clear()
            trainer.say(_headline(stage, trainer, start))
            with stopping_at_a_border(trainer), capsule_on_error(trainer):
                trainer.train(epochs_of(stage, trainer))
        finally:
            self.trainer = None
            writers.close()
            for stream in trainer.streams.values():
                stream.close()
        self.weights[stage["name"]] = weights_for_use(trainer.state_dict())
        return dict(trainer.context.get("metrics", {})), trainer.saved

    def prepare(self, stage: Mapping[str, Any], start: Start | None) -> Trainer:
        """The stage's parts, where it begins or goes on."""
        around = self.around
        known = start.state if start is not None else {}
        around.classes, around.learnt = known.get("classes"), known.get("learnt")
        around.world.pulse.stuck_after = stage["ddp"]["stuck_after"]
        trainer = self.experiment.trainer(stage, around)
        if around.world.rank:  # weights start alike, but each rank draws masks of its own
            seed_everything(mix(around.seed, around.world.rank))
        if start is not None:
            trainer.load_state_dict(start.state, source=str(start.path))
            trainer.context.set("resumed_from", str(start.path))
        elif stage["init_from"]:
            self._initialise(trainer, stage)
        return trainer

    def _say(self, text: str) -> None:
        """Tell it through the stage's writers, as soon as they are open."""
        if self.trainer is None:
            self.notes.append(text)
        else:
            self.trainer.say(text)

    def _initialise(self, trainer: Trainer, stage: Mapping[str, Any]) -> None:
        """Take over weights: from the stage before, a named stage, or a checkpoint file."""
        names = [one["name"] for one in self.stages]
        source = str(stage["init_from"]["source"])
        if source == "previous" and stage["name"] == names[0]:
            raise UserError("init_from: previous, but there is no stage before this one")
        wanted = names[names.index(stage["name"]) - 1] if source == "previous" else source
        weights = self.weights.get(wanted)
        if weights is None:
            weights = weights_for_use(self._saved(wanted, names))
        load_weights(trainer.model, weights, source=f"init_from: {source}")

    def _saved(self, wanted: str, names: Sequence[str]) -> State:
        """The end of a stage that ran before this run was resumed, or a file."""
        if wanted not in names:
            return read_checkpoint(Path(wanted))
        assert self.around.run is not None
        found = newest_checkpoint(self.around.run, self.stages, _print, stage=wanted)
        if found is None:
            raise UserError(f"init_from: {wanted}, and that stage has left no checkpoint")
        return found[1]


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


def _open_run(config: Mapping[str, Any], before: RunFolder | None, world: World) -> RunFolder:
    """One folder for all ranks: the run's that goes on, or a new one made by rank 0."""
    path: str | None = None
    opened: RunFolder | None = None
    if world.rank == 0:
        opened = before
        if opened is None:
            opened = RunFolder.create(config["project"], config["name"], config["dir"])
            if opened.moved_aside:
                _print(f"{opened.path}: an earlier run's files were moved to {opened.moved_aside}")
            opened.write_config(dict(config))
            opened.write_environment()
        opened.hold()
        if World.launched():
            opened.note_launch(world.launch.as_plain())
        path = str(opened.path)
    path = broadcast_object(path, world)
    if opened is None:
        assert path is not None
        opened = RunFolder.open(path)
    return opened


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _silence(text: str) -> None:
    """What the other ranks say: the first one has said it."""
