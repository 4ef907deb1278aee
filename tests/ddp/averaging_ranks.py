"""A mean of weights whose BatchNorm statistics two ranks measure; run as a program, one of two.

python -m tests.ddp.averaging_ranks FOLDER WAY       WAY is ddp or fsdp
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from cvtrainer.data.stream import LoaderStream
from cvtrainer.ddp.world import World, joined_world
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import BaseHook, DDPHook, FSDPHook, SWAHook
from cvtrainer.trainer import Trainer
from tests.ddp.cases import CLASSES, FEATURES, TRAIN, Samples

EPOCHS = 2


class Net(nn.Module):
    """Statistics behind a layer that learns; one sample alone has several values for them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, 7)
        self.norm = nn.BatchNorm1d(1)
        self.last = nn.Linear(7, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.norm(self.first(x)[:, None])[:, 0]))


def stream() -> LoaderStream:
    data = Samples(TRAIN, torch.float64, seed=TRAIN)
    return LoaderStream(data, options={"batch_size": 3, "shuffle": True}, training=True)


def by_hand(first: nn.Linear) -> tuple[Tensor, Tensor]:
    """The mean of the statistics of all batches of both ranks, fillers left out."""
    means, variances = [], []
    for rank in range(2):
        part = stream()
        part.shard(rank, 2)
        for batch in part.epoch(EPOCHS):
            if batch["meta"].get("weight") != 0.0:
                hidden = first(batch["x"])
                means.append(hidden.mean())
                variances.append(hidden.var())
    return torch.stack(means).mean()[None], torch.stack(variances).mean()[None]


def run(way: str, world: World) -> dict[str, Tensor]:
    torch.manual_seed(world.rank)
    spread: BaseHook = DDPHook() if way == "ddp" else FSDPHook(blocks=["Linear"])
    swa = SWAHook(start=0)
    trainer = Trainer(
        Net().double(),
        nn.CrossEntropyLoss(),
        lambda networks: {"main": torch.optim.SGD(networks["model"].parameters(), lr=0.1)},
        {"train": stream()},
        hooks=[spread, swa],
        settings=StageSettings(world=world),
    )
    trainer.train(EPOCHS)
    averaged: dict[str, Tensor] = trainer.state_dict()["hooks"]["swa"]["averaged_weights"]["model"]
    first = nn.Linear(FEATURES, 7).double()
    first.load_state_dict({name: averaged[f"first.{name}"] for name in ("weight", "bias")})
    with torch.no_grad():
        mean, variance = by_hand(first)
    measured = {name: averaged[f"norm.{name}"] for name in ("running_mean", "running_var")}
    return {**measured, "mean by hand": mean, "var by hand": variance}


if __name__ == "__main__":
    with joined_world("cpu") as joined:
        found = run(sys.argv[2], joined)
        torch.save(found, Path(sys.argv[1]) / f"rank{joined.rank}.pt")
