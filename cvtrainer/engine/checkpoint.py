"""Finds and reads checkpoints: files, and folders to which several processes wrote.

What a file or a folder looks like inside is told in `checkpoint_file.py` and
`sharded_checkpoint.py`. Here a damaged one is named and the one before it used, and those of other
runs make room for ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder
from cvtrainer.engine.checkpoint_file import DamagedCheckpointError, read_file, write_checkpoint
from cvtrainer.engine.sharded_checkpoint import owner_of, read_shards, remove_checkpoint
from cvtrainer.protocols import State

__all__ = [
    "SUFFIXES",
    "DamagedCheckpointError",
    "checkpoints_in",
    "first_whole",
    "followed",
    "move_strangers_aside",
    "read_checkpoint",
    "read_or_before",
    "remove_checkpoint",
    "write_checkpoint",
]

SUFFIXES = (".pth", ".pt", ".ckpt")
"""Files with these endings are looked at when a run's checkpoints are sought."""
_MARKER_BYTES = 1024


def read_checkpoint(path: Path) -> State:
    """The state in the file or folder; a missing, damaged or foreign one is a one-line error."""
    path = followed(path)
    return read_shards(path) if path.is_dir() else read_file(path)


def followed(path: Path) -> Path:
    """The checkpoint that a marker file names, or the path itself."""
    if path.suffix in SUFFIXES or not path.is_file() or path.stat().st_size > _MARKER_BYTES:
        return path
    named = path.read_bytes().decode("utf-8", errors="replace").strip()
    there = Path(named).name == named and named.endswith(SUFFIXES)
    return path.with_name(named) if there else path


def checkpoints_in(folder: Path) -> list[Path]:
    """Checkpoint files of a folder, newest first."""
    files = [path for suffix in SUFFIXES for path in folder.glob(f"*{suffix}")]
    return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def read_or_before(path: Path, say: Callable[[str], None]) -> tuple[Path, State]:
    """The file's state; if it is damaged, that of the newest whole file written before it."""
    path = followed(path)
    try:
        return path, read_checkpoint(path)
    except DamagedCheckpointError as damage:
        older = [other for other in checkpoints_in(path.parent) if other != path]
        born = path.stat().st_mtime_ns
        before = [other for other in older if other.stat().st_mtime_ns <= born]
        found = first_whole(before, say, lambda state: "made_from" not in state)
        if found is None:
            raise UserError(f"{damage}; there is no whole checkpoint before it") from damage
        say(f"{damage}; using {found[0]}, the one before it")
        return found


def first_whole(
    files: Iterable[Path],
    say: Callable[[str], None],
    accept: Callable[[State], bool] = lambda state: True,
) -> tuple[Path, State] | None:
    """The first file that is whole and accepted; damaged ones on the way are named."""
    for path in files:
        try:
            state = read_checkpoint(path)
        except DamagedCheckpointError as damage:
            say(f"{damage}; trying the one before it")
            continue
        if accept(state):
            return path, state
    return None


def move_strangers_aside(
    folder: Path,
    ours: re.Pattern[str],
    *,
    run_id: str | None,
    stage: str,
    say: Callable[[str], None],
) -> None:
    """Files of another run or stage, under names that ours may take, make room; others stay."""
    moved: dict[Path, int] = {}
    for path in [path for path in checkpoints_in(folder) if ours.fullmatch(path.name)]:
        owner, owner_stage = _owner(path)
        if owner == run_id and owner_stage == stage and run_id is not None:
            continue
        label = (
            owner_stage if owner == run_id and run_id is not None else f"run_{owner or 'unknown'}"
        )
        aside = make_folder(folder / label)
        path.replace(_free(aside / path.name))
        moved[aside] = moved.get(aside, 0) + 1
    for aside, count in moved.items():
        say(f"{folder}: moved {count} checkpoint(s) of another run or stage to {aside}")


def _owner(path: Path) -> tuple[str | None, str]:
    """Run id and stage of a checkpoint, without reading its tensors."""
    try:
        if path.is_dir():
            return owner_of(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # damaged or foreign: not ours, whatever the reason
        return None, ""
    if not isinstance(state, dict):
        return None, ""
    return state.get("run_id"), str(state.get("stage", ""))


def _free(path: Path) -> Path:
    """The path itself, or with a number where a file of that name is there already."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return candidate
