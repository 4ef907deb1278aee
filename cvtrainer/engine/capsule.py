"""The crash capsule: where a run went wrong, and the last whole checkpoint before it.

Because a resume is exact, these two are all that is needed to see it happen again; a run that has
no checkpoint yet begins again at step 0, which is exact as well. A capsule is a small JSON file in
`crash/` of the run folder; `cvtrainer replay` reads it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from time import time
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder, write_whole

FOLDER = "crash"


@dataclass(frozen=True)
class Capsule:
    """`step` is the optimizer step that went wrong, `batch` its batch in the epoch, both from 1."""

    run_id: str
    stage: str
    phase: str
    epoch: int
    batch: int
    step: int
    what: str
    checkpoint: str | None = None
    """The last whole one before the step; None: the stage begins anew."""
    resume_lr: str | float = "keep"
    """What became of learning rates there, where it is the one that the run was resumed from."""
    rank: int = 0
    world_size: int = 1


def write_capsule(
    trainer: Any, what: str, *, step: int, batch: int, phase: str = "train"
) -> Path | None:
    """Leave a capsule in the trainer's run folder; without one there is nothing to replay."""
    if trainer.run is None:
        return None
    world = trainer.world
    checkpoint, resumed = _last_checkpoint(trainer)
    capsule = Capsule(
        run_id=trainer.run.run_id,
        stage=trainer.settings.name,
        phase=phase,
        epoch=trainer.clock.epoch,
        batch=batch,
        step=step,
        what=what,
        checkpoint=checkpoint,
        resume_lr=trainer.context.get("resume_lr", "keep") if resumed else "keep",
        rank=world.rank,
        world_size=world.world_size,
    )
    part = f"_rank_{world.rank}" if world.rank else ""
    path: Path = trainer.run.path / FOLDER / f"{capsule.stage}_step_{step}{part}.json"
    make_folder(path.parent)
    write_whole(path, json.dumps(asdict(capsule), indent=2, ensure_ascii=False) + "\n")
    return path


@contextmanager
def capsule_on_error(trainer: Any) -> Iterator[None]:
    """An exception of the user's own code leaves a capsule; an error about input does not.

    Nor does one that only says that another process has failed.
    """
    began = time()
    try:
        yield
    except Exception as error:
        if not isinstance(error, UserError) and not _another_failed(trainer, began):
            clock = trainer.clock
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            with suppress(OSError, UserError):
                left = write_capsule(
                    trainer,
                    what,
                    step=clock.step + 1,
                    batch=clock.batch + 1,
                    phase=trainer.view.phase,
                )
                if left is not None:
                    error.add_note(f"`cvtrainer replay {trainer.run.path}` shows where it began")
        raise


def read_capsule(source: Path) -> tuple[Path, Capsule]:
    """A capsule's file, or the newest one of a run folder or of its `crash` folder."""
    if source.is_dir():
        folder = source / FOLDER if (source / FOLDER).is_dir() else source
        files = sorted(folder.glob("*_step_*.json"), key=lambda path: path.stat().st_mtime_ns)
        if not files:
            raise UserError(
                "there is no crash capsule: the run did not fail, or its guard was off",
                where=str(source),
            )
        source = files[-1]
    try:
        return source, Capsule(**json.loads(source.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"this is no crash capsule ({error})",
            where=str(source),
            todo="Give a run folder, or a file of its crash folder.",
        ) from error


def _another_failed(trainer: Any, began: float) -> bool:
    """Whether another process of this run has left a capsule since then."""
    if trainer.run is None or trainer.world.world_size == 1:
        return False
    files = (trainer.run.path / FOLDER).glob("*_step_*.json")
    return any(path.stat().st_mtime >= began for path in files)


def _last_checkpoint(trainer: Any) -> tuple[str | None, bool]:
    """The newest file that this stage has written, else the one it was resumed from (True)."""
    written = [path for path in trainer.saved if path.exists()]
    if written:
        return str(written[-1]), False
    resumed: str | None = trainer.context.get("resumed_from")
    return resumed, resumed is not None
