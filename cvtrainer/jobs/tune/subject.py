"""The stage that is looked at, built so that trying it out leaves nothing behind.

No run folder, no loggers, no checkpoints, no schedules, no early stopping: what remains of its
hooks is what makes a step what it is (precision, accumulation, clipping, freezing, and the user's
own that change what passes through).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvtrainer.core.compile import CompiledConfig, compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.ddp.world import World
from cvtrainer.engine.points import compile_table
from cvtrainer.engine.randomness import seed_everything
from cvtrainer.experiment import Experiment, Surroundings
from cvtrainer.hooks import NanGuardHook
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.jobs.take_over import source_stage, take_over
from cvtrainer.protocols import Stream
from cvtrainer.trainer import Trainer

Config = str | Path | Mapping[str, Any]

_CHANGING_POINTS = (
    "before_step",
    "before_forward",
    "after_forward",
    "before_backward",
    "after_backward",
    "before_optimize",
)
_CHANGING_RANKS = (Rank.UPDATE, Rank.DECIDE)


@dataclass(frozen=True)
class Subject:
    """A resolved config and one stage of it that trains."""

    compiled: CompiledConfig
    stage: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.stage["name"])

    @property
    def config(self) -> Mapping[str, Any]:
        return self.compiled.resolved


def find_subject(
    config: Config, overrides: Sequence[str] = (), *, stage: str | None = None
) -> Subject:
    """That stage, or the first one; what will differ from a real run is noted."""
    compiled = compile_config(config, overrides, purpose="train")
    stages = compiled.resolved["stages"]
    names = [one["name"] for one in stages]
    if stage is not None and stage not in names:
        near = nearest(stage, names)
        raise UserError(
            f"there is no stage {stage!r}",
            where="--stage",
            todo=f"Did you mean {near}?" if near else f"There is {', '.join(names)}.",
        )
    chosen = stages[names.index(stage) if stage is not None else 0]
    notes = list(compiled.notes)
    if stage is None and len(names) > 1:
        notes.append(f"looking at stage {names[0]}; --stage chooses among {', '.join(names)}")
    if source_stage(chosen, stages) is not None:
        notes.append(
            f"stage {chosen['name']} takes over the weights of another stage, which has not run: "
            f"it starts from random ones here; init_from=FILE gives a checkpoint"
        )
    return Subject(compiled, chosen, tuple(notes))


@contextmanager
def built(
    subject: Subject,
    *,
    hooks: Sequence[Any],
    max_steps: int | None = None,
    phases: Sequence[str] = ("train",),
    streams: Callable[[dict[str, Stream]], dict[str, Stream]] | None = None,
) -> Iterator[Trainer]:
    """The stage's trainer with these hooks beside those that make its step; no evaluation."""
    config, stage = subject.config, subject.stage
    seed_everything(config["seed"], deterministic=config["deterministic"])
    around = Surroundings(
        run=None,
        world=World(),
        seed=config["seed"],
        device=config["device"],
        phases=phases,
        adapt_hooks=lambda given: [*filter(makes_the_step, given), *hooks],
    )
    if streams is not None:
        around.adapt_streams = streams
    words = {"max_steps": max_steps, "eval_every": {"epochs": None, "steps": None}}
    trainer = Experiment(subject.compiled.path).trainer({**stage, **words}, around)
    try:
        if stage["init_from"] and source_stage(stage, config["stages"]) is None:
            take_over(trainer, stage, config["stages"], left={}, run=None, say=around.say)
        yield trainer
    finally:
        for stream in trainer.streams.values():
            stream.close()


def makes_the_step(hook: Any) -> bool:
    """Whether the hook takes part in a training step, rather than watching or steering the run."""
    if isinstance(hook, NanGuardHook):  # it ends a run, and a try may run into what is no number
        return False
    configure = getattr(type(hook), "configure", None)
    if configure is not None and configure is not BaseHook.configure:
        return True
    if getattr(hook, "rank", Rank.DECIDE) not in _CHANGING_RANKS:
        return False
    table = compile_table([hook])
    return any(table.listeners(point) for point in _CHANGING_POINTS)


def to_stderr(text: str) -> None:
    """For the person at the terminal; results go to standard output."""
    print(text, file=sys.stderr, flush=True)
