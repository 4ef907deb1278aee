"""MMEngine: a Runner with its default hooks, without checkpoints and sampler seeds."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator

from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.near_empty import TimedBatches, make_model, make_optimizer
from benchmarks.peers.report import run_peer


class Model(BaseModel):
    """The near-empty model in MMEngine's form."""

    def __init__(self) -> None:
        super().__init__()
        self.model = make_model()
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, x: Tensor, y: Tensor, mode: str) -> dict[str, Tensor]:
        """The loss by name."""
        return {"loss": self.criterion(self.model(x), y)}


class Loader(DataLoader):
    """The runner wants a DataLoader; this one hands out ready batches."""

    def __init__(self, batches: TimedBatches) -> None:
        super().__init__(batches.batches, batch_size=None)
        self.timed = batches

    def __iter__(self) -> Iterator[object]:
        return iter(self.timed)


def bare(batches: TimedBatches) -> Callable[[], None]:
    """A runner for each block, because one cannot be run twice."""
    model = Model()
    numbers = itertools.count()

    def train() -> None:
        with tempfile.TemporaryDirectory() as folder:
            runner = Runner(
                model=model,
                work_dir=folder,
                train_dataloader=Loader(batches),
                train_cfg={"by_epoch": True, "max_epochs": 1},
                optim_wrapper={"type": "OptimWrapper", "optimizer": make_optimizer(model)},
                default_hooks={"checkpoint": None, "sampler_seed": None},
                experiment_name=f"block_{next(numbers)}",
                log_level="ERROR",
            )
            runner.train()

    return train


if __name__ == "__main__":
    run_peer("mmengine", {"default hooks": bare}, lambda pair: {"x": pair[0], "y": pair[1]})
