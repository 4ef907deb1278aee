"""Which checkpoints a run has: in its own folder, and in the folders its config names.

A written folder may serve many runs, so a file counts only if it carries this run's id; those that
a later run has moved aside are found too. Damaged files are named and passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cvtrainer.core.run_folder import RunFolder
from cvtrainer.engine.checkpoint import checkpoints_in, first_whole
from cvtrainer.hooks.checkpoint import BEST
from cvtrainer.protocols import State

Stages = Sequence[Mapping[str, Any]]


def has_checkpoint(run: RunFolder, stages: Stages) -> bool:
    """Whether there is any file to look into, whole or not, of this run or not."""
    return bool(_files(run, stages))


def newest_checkpoint(
    run: RunFolder, stages: Stages, say: Callable[[str], None], *, stage: str | None = None
) -> tuple[Path, State] | None:
    """The latest position, of one stage or of all; the best one is a position like any other."""
    return first_whole(_files(run, stages), say, _is_from(run, stage))


def best_checkpoint(
    run: RunFolder, stages: Stages, say: Callable[[str], None]
) -> tuple[Path, State] | None:
    """The best one of the latest stage that kept one, else the newest."""
    files = [path for path in _files(run, stages) if path.name == BEST]
    return first_whole(files, say, _is_from(run)) or newest_checkpoint(run, stages, say)


def run_of(path: Path, state: State) -> RunFolder | None:
    """The run that wrote this checkpoint: the folder it lies in, moved or not, else the written."""
    written = state.get("run_path")
    for folder in [*path.parents, *([Path(written)] if written else [])]:
        if (folder / "run.json").is_file():
            run = RunFolder.open(folder)
            if run.run_id == state.get("run_id"):
                return run
    return None


def _is_from(run: RunFolder, stage: str | None = None) -> Callable[[State], bool]:
    return lambda state: (
        state.get("run_id") == run.run_id and (stage is None or state.get("stage") == stage)
    )


def _files(run: RunFolder, stages: Stages) -> list[Path]:
    """Candidates, newest first."""
    folders = [run.checkpoints, *run.checkpoints.glob("*/")]
    for stage in stages:
        for hook in stage.get("hooks") or []:
            written = (hook.get("kwargs") or {}).get("save_dir")
            if written:
                aside = [f"run_{run.run_id}", *(one["name"] for one in stages)]
                folders += [Path(written), *(Path(written) / name for name in aside)]
    files = [path for folder in dict.fromkeys(folders) for path in checkpoints_in(folder)]
    return sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True)
