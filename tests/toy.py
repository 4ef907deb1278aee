"""Small parts that several tests train: a model, batches, a meter, a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cvtrainer.core.run_folder import RunFolder
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks.base import POINTS, BaseHook
from cvtrainer.trainer import Trainer

FEATURES = 6
CLASSES = 3


class ToyModel(nn.Module):
    """Linear, BatchNorm, dropout: parameters, buffers and a random draw per step."""

    def __init__(self, dropout: float = 0.2, norm: bool = True) -> None:
        super().__init__()
        self.backbone = nn.Linear(FEATURES, 8)
        self.adapter = nn.BatchNorm1d(8) if norm else nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(torch.relu(self.adapter(self.backbone(x)))))


def batches(count: int = 4, size: int = 5, *, seed: int = 0) -> list[dict[str, Any]]:
    """Ready batches of the native form; the last one is smaller."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [size] * (count - 1) + [max(2, size - 2)]
    made = []
    first = 0
    for length in sizes:
        x = torch.randn(length, FEATURES, generator=generator)
        label = (x.sum(1) > 0).long() + (x[:, 0] > 0).long()
        made.append(
            {
                "x": x,
                "target": {"class_id": label},
                "meta": {"index": list(range(first, first + length)), "path": [""] * length},
            }
        )
        first += length
    return made


class BatchList:
    """A stream over ready batches whose order differs from epoch to epoch, with O(1) seek."""

    def __init__(self, ready: list[dict[str, Any]], *, shuffle: bool = False) -> None:
        self.ready = ready
        self.shuffle = shuffle
        self.batch_size = max(len(batch["meta"]["index"]) for batch in ready)
        self.served: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.ready)

    @property
    def samples(self) -> int:
        return sum(len(batch["meta"]["index"]) for batch in self.ready)

    def epoch(self, epoch: int, *, start: int = 0) -> Any:
        order = list(range(len(self.ready)))
        if self.shuffle:
            generator = torch.Generator().manual_seed(epoch)
            order = torch.randperm(len(order), generator=generator).tolist()
        for place in order[start:]:
            self.served.append((epoch, place))
            yield self.ready[place]

    def finish(self, batch: Any) -> Any:
        return batch

    def shard(self, rank: int, world_size: int) -> None:
        assert world_size == 1

    def close(self) -> None: ...


class Probe(BaseHook):
    """Writes down every point it is called at."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []


def _listener(point: str) -> Any:
    def listen(self: Probe, stage: Any) -> None:
        self.seen.append((point, stage["phase"]))

    return listen


for _point in POINTS:
    setattr(Probe, _point, _listener(_point))


def toy_trainer(
    hooks: Any = (),
    *,
    meters: Any = (),
    run: RunFolder | None = None,
    train: Any = None,
    val: Any = None,
    lr: float = 0.1,
    seed: int = 0,
    settings: StageSettings | None = None,
    **model: Any,
) -> Trainer:
    """A trainer over the toy model; the same seed gives the same start."""
    torch.manual_seed(seed)
    network = ToyModel(**model)
    loaders = {"train": batches() if train is None else train}
    if val is not False:
        loaders["val"] = batches(2, seed=9) if val is None else val
    return Trainer(
        network,
        nn.CrossEntropyLoss(),
        torch.optim.Adam(network.parameters(), lr=lr),
        loaders,
        hooks=hooks,
        meters=meters,
        run=run,
        settings=settings,
    )


def new_run(folder: Path) -> RunFolder:
    return RunFolder.create("toys", "toy", root=folder / "runs")
