"""Tasks on two ranks; run as a program, one rank of two.

    python -m tests.tasks.two_ranks FOLDER        with RANK, WORLD_SIZE and where to meet set

Each rank leaves FOLDER/rank<N>.pt with the weights that every case ended with.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cvtrainer.data.stream import LoaderStream
from cvtrainer.ddp.world import World, joined_world
from cvtrainer.engine.criteria import Criteria, Criterion
from cvtrainer.engine.stage import StageSettings
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.hooks import DDPHook, EMAHook
from cvtrainer.loss import AdversarialLoss, GivenLoss
from cvtrainer.meters import FeatureDistanceMeter, LossMeter
from cvtrainer.models import VQVAE, PictureDiscriminator, PictureGenerator
from cvtrainer.protocols import Task
from cvtrainer.tasks import GAN, Distillation
from cvtrainer.trainer import Trainer

SIZE, LATENT = 8, 4


class Pictures:
    """Random pictures of three classes."""

    def __init__(self, count: int) -> None:
        drawn = torch.Generator().manual_seed(count)
        self.x = torch.rand(count, 3, SIZE, SIZE, generator=drawn)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Any]:
        meta = {"index": index, "path": ""}
        return {"x": self.x[index], "target": {"class_id": torch.tensor(index % 3)}, "meta": meta}


class Small(nn.Module):
    """A layer with a name, and scores."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, width, 3, 2, 1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.norm(self.layer(x)).relu().mean((2, 3)))
        return scores


def gan() -> Task:
    return GAN(
        PictureGenerator(LATENT, SIZE, width=4),
        PictureDiscriminator(SIZE, width=4),
        AdversarialLoss(),
        LATENT,
        judge_steps=2,
        penalty=0.5,
    )


def codes() -> Task:
    model = VQVAE(width=8, blocks=1, codes=8, code_width=4)
    parts = {
        "vq": Criterion(GivenLoss(), bind={"output": "vq"}),
        "recon": Criterion(nn.MSELoss(), bind={"input": "recon", "target": "x"}),
    }
    return SupervisedTask(model, Criteria(parts))


def distillation() -> Task:
    pair = {"student": "layer", "adapter": nn.Conv2d(4, 6, 1)}
    inner = SupervisedTask(Small(4), nn.CrossEntropyLoss())
    return Distillation(inner, Small(6), features=[pair])


CASES = {"gan": gan, "codes": codes, "distillation": distillation}


def trained(name: str, world: World) -> dict[str, Any]:
    torch.manual_seed(0)
    task = CASES[name]()
    optimizers = {
        update.name: torch.optim.Adam(
            [one for part in update.networks for one in task.networks[part].parameters()], lr=0.01
        )
        for update in task.updates()
    }
    hooks: list[Any] = [EMAHook(decay=0.9)]
    if world.world_size > 1:
        hooks.append(DDPHook(broadcast_buffers=name == "gan"))
    meters = [LossMeter(), FeatureDistanceMeter()] if name == "gan" else [LossMeter()]
    data = {
        phase: LoaderStream(
            Pictures(count),
            options={"batch_size": 6 // world.world_size, "shuffle": phase == "train"},
            training=phase == "train",
        )
        for phase, count in (("train", 13), ("val", 7))
    }
    torch.manual_seed(10 + world.rank)
    trainer = Trainer(
        task,
        None,
        optimizers,
        data,
        hooks=hooks,
        meters=meters,
        settings=StageSettings(world=world),
    )
    numbers = trainer.train(2)
    weights = {part: net.state_dict() for part, net in trainer.networks.items()}
    frozen = {part: net.state_dict() for part, net in getattr(task, "frozen", {}).items()}
    return {"weights": weights, "numbers": numbers, "frozen": frozen}


if __name__ == "__main__":
    with joined_world("cpu") as joined:
        found = {name: trained(name, joined) for name in CASES}
        torch.save(found, Path(sys.argv[1]) / f"rank{joined.rank}.pt")
