"""Finds the checkpoint a run goes on from, and the run folder it belongs to.

A path is taken as given; if that file is damaged, the newest whole one before it is used. `auto`
takes the newest whole checkpoint of the newest run of this config that has one.
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
from cvtrainer.jobs.run_checkpoints import newest_checkpoint, run_of
from cvtrainer.protocols import State

AUTO = "auto"


@dataclass(frozen=True)
class Start:
    """Where a run continues."""

    path: Path
    state: State

    @property
    def stage(self) -> str:
        return str(self.state["stage"])

    @property
    def run(self) -> RunFolder | None:
        """The folder of the run that wrote the checkpoint, if it is still there."""
        return run_of(self.path, self.state)


def find_start(wanted: str, config: Mapping[str, Any], say: Callable[[str], None]) -> Start | None:
    """The checkpoint to continue from; None when `auto` finds nothing."""
    if wanted != AUTO:
        path, state = read_or_before(Path(wanted), say)
        missing = [key for key in ("clock", "networks", "optimizers") if key not in state]
        if missing:
            raise UserError(
                f"it holds no training state ({', '.join(missing)} missing)",
                where=str(path),
                todo="Resume from a checkpoint of cvtrainer.",
            )
        return Start(path, state)
    for run in _runs(config):
        found = newest_checkpoint(run, config["stages"], say)
        if found is not None:
            return Start(*found)
    return None


def _runs(config: Mapping[str, Any]) -> list[RunFolder]:
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
