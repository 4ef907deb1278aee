"""Two ranks that save while they train, on a slow disk and on a full one; run as a program.

python -m tests.ddp.saving_ranks FOLDER slow|full        with RANK, WORLD_SIZE and so on set
"""

from __future__ import annotations

import errno
import json
import sys
import time
from pathlib import Path
from typing import Any

from cvtrainer.ddp.world import joined_world
from cvtrainer.engine import saving
from cvtrainer.hooks import BaseHook, CheckpointHook
from tests.ddp.borders import trainer_of


class Told(BaseHook):
    """When this rank hears of which file."""

    def __init__(self) -> None:
        self.of: list[Any] = []

    def after_save(self, stage: Any) -> None:
        path = stage["checkpoint_path"]
        self.of.append([path.name, stage.clock.batches, path.is_file()])


def main(folder: Path, disk: str) -> None:
    write = saving.write_checkpoint

    def slow(path: Path, state: Any) -> None:
        time.sleep(0.1)
        write(path, state)

    def full(path: Path, state: Any) -> None:
        raise OSError(errno.ENOSPC, f"no space for {path.name}")

    saving.write_checkpoint = full if disk == "full" else slow
    told = Told()
    with joined_world("cpu") as world:
        hook = CheckpointHook(str(folder / "c"), save_freq=0, save_steps=5, max_keep=2)
        trainer_of(world, [told, hook]).train(2)
        (folder / f"rank{world.rank}.json").write_text(json.dumps(told.of))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
