"""Runs that are saved, loaded and gone on with in another number of processes; one rank of two.

    python -m tests.ddp.sharded_runs FOLDER

FOLDER holds `alone.pth`, saved by one process after five of ten steps. Each rank leaves what the
runs that it went on with ended in, and the two of them leave checkpoints for one process.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cvtrainer.ddp.world import World, joined_world
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import BaseHook, CheckpointHook, ClipGradientsHook, DDPHook, EMAHook, FSDPHook
from cvtrainer.trainer import Trainer
from tests.ddp.cases import Case, outcome, trainer_of

HALF = 5


def case(*, sharded: bool, accumulate: int = 1) -> Case:
    return Case(
        lambda: FSDPHook(blocks=["Linear"], sharded_checkpoints=sharded),
        lambda: [EMAHook(decay=0.7), ClipGradientsHook(max_norm=0.1)],
        accumulate=accumulate,
    )


class SaveAt(BaseHook):
    """Asks for a checkpoint after that many batches."""

    def __init__(self, path: Path, batches: int) -> None:
        self.path = path
        self.batches = batches

    def after_step(self, stage: Any) -> None:
        if stage.phase == "train" and stage.clock.batches == self.batches:
            stage.trainer.request_save(self.path)


def go_on(path: Path, case: Case, world: World) -> dict[str, Any]:
    """From the checkpoint to the tenth step."""
    trainer = trainer_of(case, world)
    trainer.load_state_dict(read_checkpoint(path), source=str(path))
    trainer.train(100)
    return outcome(trainer)


def whole_run(case: Case, world: World, path: Path, batches: int = HALF) -> dict[str, Any]:
    """Ten steps without a break, and a checkpoint on the way."""
    trainer = trainer_of(case, world, [SaveAt(path, batches)])
    trainer.train(100)
    return outcome(trainer)


def keep_two(folder: Path, world: World) -> list[str]:
    """Saves every other step, of which two stay; the names that are there at the end."""
    settings = StageSettings(max_steps=10, world=world, checkpoints=folder)
    hook = CheckpointHook(save_freq=0, save_steps=2, max_keep=2, save_best=True)
    trainer: Trainer = trainer_of(case(sharded=True), world, [hook], settings=settings)
    trainer.train(100)
    return sorted(path.name for path in folder.iterdir())


def main(folder: Path) -> None:
    with joined_world("cpu") as world:
        cut, full = case(sharded=True), case(sharded=False)
        grouped = case(sharded=True, accumulate=3)
        found = {
            "whole run": whole_run(cut, world, folder / "cut.pth"),
            "whole run, full file": whole_run(full, world, folder / "full.pth"),
            "whole run, grouped": whole_run(grouped, world, folder / "grouped.pth", 6),
        }
        found |= {
            "on from cut": go_on(folder / "cut.pth", cut, world),
            "on from full": go_on(folder / "full.pth", full, world),
            "on from grouped": go_on(folder / "grouped.pth", grouped, world),
            "on from alone": go_on(folder / "alone.pth", cut, world),
            "on from alone, in copies": go_on(
                folder / "alone.pth", replace(cut, spread=DDPHook), world
            ),
            "kept": keep_two(folder / "kept", world),
        }
        torch.save(found, folder / f"rank{world.rank}.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
