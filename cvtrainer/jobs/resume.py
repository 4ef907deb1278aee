"""Finds the checkpoint a run goes on from, and the run folder it belongs to.

A path is taken as given; if that file is damaged, the newest whole one before it is used. `auto`
takes the newest whole checkpoint of the newest run of this config that has one. The run's folder is
locked before its newest state is read, so that nobody else goes on from it at the same time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.engine.checkpoint import read_or_before
from cvtrainer.experiment.run_checkpoints import has_checkpoint, newest_checkpoint, run_of
from cvtrainer.protocols import State

AUTO = "auto"


@dataclass(frozen=True)
class Start:
    """Where a run continues."""

    path: Path
    state: State
    run: RunFolder | None
    """The folder of the run that wrote the checkpoint, if it is still there."""

    @property
    def stage(self) -> str:
        return str(self.state["stage"])


@dataclass(frozen=True)
class Before:
    """The run that goes on, and where; a stage of it may begin anew."""

    run: RunFolder | None
    start: Start | None


def find_start(
    wanted: str,
    config: Mapping[str, Any],
    say: Callable[[str], None],
    *,
    stage: str | None = None,
    hold: bool = True,
) -> Before | None:
    """What to continue from; None when `auto` finds nothing.

    With a `stage`, only a checkpoint of that one counts; a run that has others is taken up without.
    `hold` locks the run's folder; of several ranks one does that.
    """
    if wanted == AUTO:
        found = (_newest(run, config, say, stage, hold=hold) for run in runs_of(config))
        return next((one for one in found if one is not None), None)
    if (Path(wanted) / "run.json").is_file():
        before = _newest(RunFolder.open(wanted), config, say, stage, hold=hold)
        if before is None:
            raise UserError("this run has no checkpoint to go on from", where=wanted)
        return before
    path, state = read_or_before(Path(wanted), say)
    missing = [key for key in ("clock", "networks", "optimizers") if key not in state]
    if missing:
        raise UserError(
            f"it holds no training state ({', '.join(missing)} missing)",
            where=str(path),
            todo="Resume from a checkpoint of cvtrainer; weights alone are for init_from.",
        )
    owner = run_of(path, state)
    if hold and owner is not None:
        owner.hold()
    if stage is not None and state["stage"] != stage:
        if owner is None:
            raise UserError(f"it is from stage {state['stage']!r}, not {stage!r}", where=str(path))
        return Before(owner, None)
    return Before(owner, Start(path, state, owner))


def _newest(
    run: RunFolder,
    config: Mapping[str, Any],
    say: Callable[[str], None],
    stage: str | None,
    *,
    hold: bool,
) -> Before | None:
    """The run with its newest whole checkpoint; None where it has none at all."""
    if not has_checkpoint(run, config["stages"]):
        return None
    if hold:
        run.hold()
    found = newest_checkpoint(run, config["stages"], say, stage=stage)
    if found is not None:
        return Before(run, Start(*found, run))
    if stage is not None and newest_checkpoint(run, config["stages"], say) is not None:
        return Before(run, None)
    run.close()
    return None


def runs_of(config: Mapping[str, Any]) -> list[RunFolder]:
    """Runs of this config, newest first."""
    if config.get("dir"):
        fixed = Path(config["dir"])
        return [RunFolder.open(fixed)] if (fixed / "run.json").is_file() else []
    parent = Path("runs") / str(config["project"])
    born: list[tuple[str, int, Path]] = []
    for path in parent.glob(f"{config['name']}_*"):
        try:
            identity = json.loads((path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if identity.get("name") == config["name"]:
            born.append((str(identity.get("created")), path.stat().st_mtime_ns, path))
    return [RunFolder.open(path) for _, _, path in sorted(born, reverse=True)]
