"""Runs in processes that a launcher starts, and starts again after a failure.

Who was started again by the same launcher belongs to the run that its predecessors opened, and
takes it up at its newest whole checkpoint, whatever the command line says of resuming.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cvtrainer.core.errors import RunFailed
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.ddp.launch import Nodes, launch_ranks
from cvtrainer.ddp.reduce import broadcast_object
from cvtrainer.ddp.world import World
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.experiment.run_checkpoints import newest_checkpoint
from cvtrainer.jobs.resume import Before, Start, runs_of
from cvtrainer.protocols import State


def nodes_from_words(number: str | None, rank: int | None, meet_at: str | None) -> Nodes:
    """The machines, as the command line names them."""
    return Nodes.from_words(number, rank, meet_at)


def run_of_launch(
    config: Mapping[str, Any], world: World, say: Callable[[str], None]
) -> Before | None:
    """The run that an earlier start of this launch has opened, and how far it came.

    The first rank finds it; a collective.
    """
    if not world.launch.name:
        return None
    own: RunFolder | None = None
    if world.rank == 0:
        own = next((run for run in runs_of(config) if world.launch.is_of(run.launch)), None)
    found: tuple[Path, State] | None = None
    if own is not None:
        found = newest_checkpoint(own, config["stages"], say)
        say(f"the processes were started again; going on with {own.path}")
    places = (own and str(own.path), found and str(found[0]))
    folder, file = broadcast_object(places, world)
    if folder is None:
        return None
    run = own or RunFolder.open(folder)
    if file is not None and found is None:
        found = Path(file), read_checkpoint(Path(file))
    return Before(run, None if found is None else Start(*found, run))


def most_restarts(config: Mapping[str, Any]) -> int:
    """How often failed processes are started again: the most that a stage asks for."""
    return max((int(stage["ddp"]["max_restarts"]) for stage in config["stages"]), default=0)


def train_in_ranks(
    config: str | Path | Mapping[str, Any],
    overrides: Sequence[str],
    resolved: Mapping[str, Any],
    *,
    processes: int,
    resume: str | None,
    stage: str | None,
    nodes: Nodes,
) -> dict[str, Any] | None:
    """Start the ranks; each of them runs this verb, and the first one leaves the result.

    None where the first rank runs on another machine.
    """
    with tempfile.TemporaryDirectory(prefix="cvtrainer-") as folder:
        if isinstance(config, Mapping):
            written = Path(folder) / "config.json"
            written.write_text(json.dumps(config), encoding="utf-8")
            config = written
        left = Path(folder) / "result.json"
        words = ["train", "--config", str(config), "--result", str(left)]
        words += ["--resume", resume] if resume else []
        words += ["--stage", stage] if stage else []
        code = launch_ranks(
            [*words, *overrides],
            processes,
            device=str(resolved["device"]),
            nodes=nodes,
            max_restarts=most_restarts(resolved),
        )
        if code:
            raise RunFailed(f"training in {processes} processes failed; the cause is told above")
        if not left.is_file():
            return None
        found: dict[str, Any] = json.loads(left.read_text(encoding="utf-8"))
        return found
