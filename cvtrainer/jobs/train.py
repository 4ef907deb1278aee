"""Train what a config describes: its stages in order, in one process or several.

Also `cvtrainer.train(config)`. The job opens the run folder, hands weights from stage to stage
and says what came out; how a stage trains is the trainer's business.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cvtrainer.core.compile import CompiledConfig, compile_config
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.ddp.launch import Nodes
from cvtrainer.ddp.reduce import broadcast_object
from cvtrainer.ddp.world import World, joined_world
from cvtrainer.experiment import Surroundings
from cvtrainer.experiment.aware import insist_on_tools
from cvtrainer.jobs.launched import run_of_launch, train_in_ranks
from cvtrainer.jobs.resume import Before, find_start
from cvtrainer.jobs.resumed_rates import KEEP
from cvtrainer.jobs.session import Session
from cvtrainer.jobs.stages_due import check_stage, stages_due

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
    stage: str | None = None,
) -> TrainResult:
    """Train; `resume` is a checkpoint, a run folder or `auto`, else what the config says.

    `num_gpus` overrides `ddp.num_gpus` (0: on the CPU), `nodes` says which other machines take
    part, `stage` trains that one alone.
    """
    words = [*overrides, *([f"dir={run_dir}"] if run_dir is not None else [])]
    if num_gpus == 0:
        words, num_gpus = [*words, "device=cpu"], 1
    compiled = compile_config(config, words)
    resolved = compiled.resolved
    check_stage(stage, resolved["stages"])
    resume = resume or resolved["resume"]
    processes = num_gpus or _wanted_processes(resolved)
    nodes = nodes or Nodes()
    if (processes > 1 or nodes.most > 1) and not World.launched():
        found = train_in_ranks(
            config, words, resolved, processes=processes, resume=resume, stage=stage, nodes=nodes
        )
        return TrainResult.from_plain(found)
    with joined_world(str(resolved["device"])) as world:
        return _train_here(compiled, resume, world, stage=stage)


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
    *,
    stage: str | None = None,
) -> TrainResult:
    """All stages, in this process (one of several, perhaps)."""
    config = compiled.resolved
    insist_on_tools([one for one in config["stages"] if stage in (None, one["name"])])
    say = _print if world.rank == 0 else _silence
    before = run_of_launch(config, world, say)
    again = before is not None and before.start is not None
    if resume and not again:
        found = find_start(resume, config, say, stage=stage, hold=world.rank == 0)
        if found is not None:
            before = found if before is None else Before(before.run, found.start)
    if resume and before is None:
        say("resume: no checkpoint of this config was found; starting from the beginning")
    run = _open_run(config, before.run if before else None, world)
    session = Session(
        compiled,
        Surroundings(run=run, world=world, seed=config["seed"], device=config["device"], say=say),
    )
    session.takes_up = before is not None
    session.resume_lr = KEEP if again else config["resume_lr"]
    if adapt is not None:
        adapt(session.around)
    result = TrainResult(run.path, rank=world.rank)
    start = before.start if before else None
    try:
        for one, begun in stages_due(config["stages"], start, run, world, session.say, stage):
            folder = run.checkpoints / one["name"]
            session.around.checkpoints = folder if len(config["stages"]) > 1 else run.checkpoints
            metrics, saved = session.run_stage(one, begun)
            result.metrics[one["name"]] = metrics
            result.checkpoints += [path for path in saved if path.exists()]
            gc.collect()  # a stage's parts know each other; the next one may need their memory
        if start is not None and not result.metrics:
            result.metrics[start.stage] = dict(start.state["metrics"])
        for note in session.notes:
            say(note)
    finally:
        run.close()
    return result


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
