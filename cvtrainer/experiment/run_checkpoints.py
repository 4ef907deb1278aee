"""Which checkpoints a run has: in its own folder, and in the folders its config names.

A written folder may serve many runs, so a file counts only if it carries this run's id; those that
a later run has moved aside are found too. Damaged files are named and passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.engine.checkpoint import checkpoints_in, first_whole
from cvtrainer.engine.weight_files import read_weights
from cvtrainer.hooks.checkpoint_names import CheckpointNames
from cvtrainer.hooks.kept_files import best_names
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
    newest = newest_checkpoint(run, stages, say)
    return _best_by(newest, run, stages, say) or _best_by_name(run, stages, say) or newest


def weights_at(path: Path, say: Callable[[str], None]) -> State:
    """What a file holds; of a run's folder its best checkpoint."""
    if not path.is_dir():
        return read_weights(path)
    if not (path / "run.json").is_file() or not (path / "config.yaml").is_file():
        raise UserError("this folder is no run", where=str(path), todo="Give a file of weights.")
    stages = compile_config(path / "config.yaml", purpose="eval").resolved["stages"]
    found = best_checkpoint(RunFolder.open(path), stages, say)
    if found is None:
        raise UserError("this run has no checkpoint", where=str(path))
    return found[1]


def _best_by(
    known: tuple[Path, State] | None, run: RunFolder, stages: Stages, say: Callable[[str], None]
) -> tuple[Path, State] | None:
    """The best of those that this checkpoint remembers and that are still there."""
    if known is None:
        return None
    files, stage = _files(run, stages), str(known[1]["stage"])
    for name in best_names(known[1]):
        named = [path for path in files if path.name == name]
        found = first_whole(named, say, _is_from(run, stage))
        if found is not None:
            return found
    return None


def _best_by_name(
    run: RunFolder, stages: Stages, say: Callable[[str], None]
) -> tuple[Path, State] | None:
    """Where the latest stage keeps no best: the best of the latest one that does."""
    patterns = [_names(hook).best_pattern for stage in stages for hook in stage.get("hooks") or []]
    patterns = patterns or [CheckpointNames().best_pattern]
    files = [
        path
        for path in _files(run, stages)
        if any(pattern.fullmatch(path.name) for pattern in patterns)
    ]
    found = first_whole(files, say, _is_from(run))
    return _best_by(found, run, stages, say) or found


def _names(hook: Mapping[str, Any]) -> CheckpointNames:
    """The names that a hook's node asks for; hooks of other kinds ask for none."""
    kwargs = hook.get("kwargs") or {}
    written = kwargs.get("names") if str(hook.get("type")).endswith("CheckpointHook") else None
    return CheckpointNames.of(written, best_kept=kwargs.get("save_top_k") or 1)


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
    """Positions of this run (and stage): weights made from them are no position."""
    return lambda state: (
        "clock" in state
        and state.get("run_id") == run.run_id
        and (stage is None or state.get("stage") == stage)
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
