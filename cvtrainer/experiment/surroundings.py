"""What a stage does not decide itself: its run, its place among processes, what is known so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cvtrainer.core.run_folder import RunFolder
from cvtrainer.ddp.world import World
from cvtrainer.protocols import State, Stream, Writer

PHASES = ("train", "val", "test")


def _silent(text: str) -> None:
    """Nobody listens."""


def _same_hooks(hooks: list[Any]) -> list[Any]:
    return hooks


def _nothing_left(stage: str) -> State | None:
    """There were no stages before."""
    return None


def _same_streams(streams: dict[str, Stream]) -> dict[str, Stream]:
    return streams


@dataclass
class Surroundings:
    """Made by a job, filled in by the composition root.

    `classes` is training's class map and `learnt` what its tensorizers learnt from the data
    (a vocabulary, a scale): both bind evaluation and are kept in checkpoints. `left_by` gives what
    an earlier stage of the run has left, and None for other names. A stage that `begins` gets
    first weights; one that goes on has its own. A job that trains otherwise than the config says
    (a rehearsal, a search) changes hooks and streams on their way.
    """

    run: RunFolder | None
    world: World
    seed: int = 0
    device: str = "auto"
    classes: Sequence[str] | None = None
    learnt: Mapping[str, Any] | None = None
    phases: Sequence[str] = PHASES
    begins: bool = True
    writers: Sequence[Writer] = field(default_factory=tuple)
    checkpoints: Path = Path("checkpoints")
    say: Callable[[str], None] = _silent
    more_hooks: Sequence[Any] = field(default_factory=tuple)
    """Beside those of the stage; a job puts there what only it can build."""
    adapt_hooks: Callable[[list[Any]], list[Any]] = _same_hooks
    adapt_streams: Callable[[dict[str, Stream]], dict[str, Stream]] = _same_streams
    left_by: Callable[[str], State | None] = _nothing_left
