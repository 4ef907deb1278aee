"""Two ranks that train, of which the second one gets into trouble; run as a program.

    python -m tests.ddp.troubles FOLDER KIND PLACE        with RANK, WORLD_SIZE and so on set

FOLDER/when holds the moment at which it did.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cvtrainer.data.stream import LoaderStream
from cvtrainer.ddp.world import World, joined_world
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import BaseHook, DDPHook
from cvtrainer.protocols import Batch
from cvtrainer.trainer import Trainer
from tests.ddp.cases import Net, Samples

STUCK_AFTER = 3.0
_THIRD = 3


class Trouble(BaseHook):
    """Comes over the second rank: in a step, an evaluation, or while saving."""

    def __init__(self, folder: Path, kind: str, place: str) -> None:
        self.folder, self.kind, self.place = folder, kind, place

    def after_step(self, stage: Any) -> None:
        if stage.phase == "train" and stage.step == _THIRD:
            stage.trainer.request_save(self.folder / "third.pth")
        if stage.step >= _THIRD and self.place == stage.phase:
            self._come(stage)

    def before_save(self, stage: Any) -> None:
        if self.place == "save":
            self._come(stage)

    def _come(self, stage: Any) -> None:
        if stage.trainer.world.rank == 1:
            (self.folder / "when").write_text(str(time.time()))
            getattr(self, self.kind, self.none)(stage)

    def fail(self, stage: Any) -> None:
        raise ValueError("rank one has had enough")

    def kill(self, stage: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def loop(self, stage: Any) -> None:
        while True:
            pass

    def halt(self, stage: Any) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    def more(self, stage: Any) -> None:
        """A save that the others know nothing of."""
        stage.trainer.state_dict()

    def none(self, stage: Any) -> None:
        """Slow, and nothing is wrong."""
        time.sleep(0.1)


class Sleepy(Samples):
    """Samples of which one never comes."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == len(self) - 1:
            time.sleep(1000)
        return super().__getitem__(index)


class OneMore:
    """A stream that serves its last batch twice."""

    def __init__(self, stream: LoaderStream) -> None:
        self._stream = stream
        self.batch_size, self.samples = stream.batch_size, stream.samples

    def __len__(self) -> int:
        return len(self._stream) + 1

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        yield from self._stream.epoch(epoch, start=start)
        yield from self._stream.epoch(epoch, start=len(self._stream) - 1)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def trainer_of(world: World, folder: Path, kind: str, place: str) -> Trainer:
    streams: dict[str, Any] = {}
    for phase in ("train", "val"):
        kind_of_data = Sleepy if kind == "sleep" and place == phase and world.rank else Samples
        data = kind_of_data(24, torch.float32, seed=1)
        streams[phase] = LoaderStream(data, options={"batch_size": 3}, training=phase == "train")
        if kind == "longer" and place == phase and world.rank:
            streams[phase] = OneMore(streams[phase])
    torch.manual_seed(0)
    return Trainer(
        Net(),
        nn.CrossEntropyLoss(),
        lambda networks: {"main": torch.optim.SGD(networks["model"].parameters(), 0.1)},
        streams,
        hooks=[DDPHook(), Trouble(folder, kind, place)],
        settings=StageSettings(world=world, eval_epochs=1),
    )


def main(folder: Path, kind: str, place: str) -> None:
    with joined_world("cpu") as world:
        world.pulse.stuck_after = STUCK_AFTER
        (folder / f"pid{world.rank}").write_text(str(os.getpid()))
        trainer_of(world, folder, kind, place).train(2)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), *sys.argv[2:4])
