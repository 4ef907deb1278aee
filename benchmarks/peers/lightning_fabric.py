"""Lightning Fabric: the user's own loop around wrapped model and optimizer."""

from __future__ import annotations

from collections.abc import Callable

from lightning.fabric import Fabric
from torch import nn

from benchmarks.near_empty import TimedBatches, make_model, make_optimizer
from benchmarks.peers.report import run_peer


def bare(batches: TimedBatches) -> Callable[[], None]:
    """The loop of Fabric's guide."""
    fabric = Fabric(accelerator="cpu", devices=1)
    model = make_model()
    model, optimizer = fabric.setup(model, make_optimizer(model))
    criterion = nn.CrossEntropyLoss()

    def train() -> None:
        for x, y in batches:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            fabric.backward(loss)
            optimizer.step()

    return train


if __name__ == "__main__":
    run_peer("lightning", {"fabric": bare}, lambda pair: pair)
