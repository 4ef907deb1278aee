"""Two ranks that stop, are interrupted and go on; run as a program, several checks in one start.

    python -m tests.ddp.borders FOLDER        with RANK, WORLD_SIZE and so on set

Each rank leaves FOLDER/rank<N>.json. FOLDER/alone.pth is what one process saved in the middle of
its epoch, if it is there: the ranks go on from it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cvtrainer.data.stream import LoaderStream
from cvtrainer.ddp.world import World, joined_world
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import AccumulateHook, BaseHook, CheckpointHook, DDPHook
from cvtrainer.jobs.interrupt import stopping_at_a_border
from cvtrainer.meters import LossMeter
from cvtrainer.trainer import Trainer
from tests.ddp.cases import Net, Samples

SAMPLES = 50
EPOCHS = 3


class Seen(BaseHook):
    """The samples of each epoch that counted, in order, on this rank."""

    def __init__(self) -> None:
        self.of: dict[str, list[int]] = {}

    def before_step(self, stage: Any) -> None:
        meta = stage["batch"]["meta"]
        if meta.get("weight") != 0.0:
            self.of.setdefault(str(stage.epoch), []).extend(int(one) for one in meta["index"])


class At(BaseHook):
    """Does something once, at a step, on one rank or on all."""

    def __init__(self, step: int, act: Callable[[Any], None], rank: int | None = None) -> None:
        self.step, self.act, self.only = step, act, rank

    def after_step(self, stage: Any) -> None:
        here = self.only in (None, stage.trainer.world.rank)
        if here and stage.phase == "train" and stage.clock.batches == self.step:
            self.act(stage.trainer)


class CountMeter:
    """How many samples have gone through."""

    PRODUCES = ("count",)

    def __init__(self) -> None:
        self.count = 0.0

    def update(self, batch_size: torch.Tensor) -> None:
        self.count += float(batch_size.sum())

    def compute(self) -> dict[str, float]:
        return {"count": self.count}

    def reset(self) -> None:
        self.count = 0.0

    def merge(self, states: Sequence[dict[str, float]]) -> None:
        self.count = sum(state["count"] for state in states)

    def state_dict(self) -> dict[str, float]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.count = state["count"]


def trainer_of(
    world: World,
    hooks: Sequence[Any] = (),
    *,
    batch_size: int = 2,
    folder: Path = Path(),
    accumulate: int = 1,
) -> Trainer:
    torch.manual_seed(0)
    data = Samples(SAMPLES, torch.float64, seed=3)
    options = {"batch_size": batch_size, "shuffle": True}
    spread = [DDPHook()] if world.world_size > 1 else []
    group = [AccumulateHook(accumulate)] if accumulate > 1 else []
    return Trainer(
        Net().double(),
        nn.CrossEntropyLoss(),
        lambda networks: {"main": torch.optim.AdamW(networks["model"].parameters(), 0.01)},
        {"train": LoaderStream(data, seed=5, options=options)},
        hooks=[*spread, *group, *hooks],
        meters=[LossMeter(), CountMeter()],
        settings=StageSettings(world=world, checkpoints=folder),
    )


class Pace(BaseHook):
    """So quick that ranks look at each other's wishes every few batches only."""

    def after_step(self, stage: Any) -> None:
        time.sleep(0.002)


def stop_of_one(world: World) -> dict[str, Any]:
    """Rank 1 alone wants to stop; then rank 0 alone does, at the end of an epoch."""
    trainer = trainer_of(world, [Pace(), At(5, Trainer.stop, rank=1)])
    trainer.train(1000)
    inside = [trainer.clock.epoch, trainer.clock.batch, trainer.clock.step]

    class Enough(BaseHook):
        def after_epoch(self, stage: Any) -> None:
            if stage.trainer.world.rank == 0 and stage.epoch == 2:
                stage.trainer.stop()

    trainer = trainer_of(world, [Enough()])
    trainer.train(1000)
    return {"inside": inside, "between": [trainer.clock.epochs_done, trainer.clock.closed]}


def tell_to_end(trainer: Trainer) -> None:
    """As a terminal and a launcher do: twice."""
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), number)


def interrupted(world: World, folder: Path, accumulate: int) -> dict[str, Any]:
    """Rank 0 alone is told to end; what was saved goes on to what was never interrupted."""
    checkpoint = CheckpointHook(save_dir=str(folder), save_freq=0)
    hooks = [Pace(), At(17, tell_to_end, rank=0), checkpoint]
    trainer = trainer_of(world, hooks, folder=folder, accumulate=accumulate)
    try:
        with stopping_at_a_border(trainer):
            trainer.train(1000)
        told = False
    except KeyboardInterrupt:
        told = True
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    world.pulse.leaves_in_order = False
    at = [trainer.clock.epoch, trainer.clock.batch]
    state = read_checkpoint(folder / "last.pth")
    again = trainer_of(world, accumulate=accumulate)
    again.load_state_dict(state)
    again.train(at[0] + 1)
    whole = trainer_of(world, accumulate=accumulate)
    whole.train(at[0] + 1)
    same = all(
        torch.equal(one, other)
        for one, other in zip(again.model.parameters(), whole.model.parameters(), strict=True)
    )
    counted = again.context.get("metrics") == whole.context.get("metrics")
    return {"told": told, "at": at, "same": same, "counted": counted}


def handed_over(world: World, folder: Path) -> dict[str, Any]:
    """In the middle of an epoch: from one process to these, and from these to one process."""
    found: dict[str, Any] = {}
    if (folder / "alone.pth").is_file():
        seen = Seen()
        trainer = trainer_of(world, [seen])
        trainer.load_state_dict(read_checkpoint(folder / "alone.pth"))
        found["batch"] = trainer.clock.batch
        trainer.train(1)
        found["from one"] = seen.of
        found["count"] = trainer.context.get("metrics")["train/count"]
    seen = Seen()

    def save_and_stop(trainer: Trainer) -> None:
        trainer.request_save(folder / "two.pth", wait=True)
        trainer.stop()

    trainer = trainer_of(world, [seen, At(16, save_and_stop)])
    trainer.train(1000)
    position = read_checkpoint(folder / "two.pth")["position"]
    found["seen"] = {epoch: seen.of[epoch] for epoch in seen.of}
    return {**found, "position": position}


def main(folder: Path) -> None:
    with joined_world("cpu") as world:
        found = {
            "stop": stop_of_one(world),
            "interrupted": interrupted(world, folder / "plain", 1),
            "interrupted in a group": interrupted(world, folder / "grouped", 4),
            "handed over": handed_over(world, folder),
        }
        (folder / f"rank{world.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
