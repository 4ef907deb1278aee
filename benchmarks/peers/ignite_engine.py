"""Ignite: an Engine around the user's step function, without handlers."""

from __future__ import annotations

from collections.abc import Callable

from ignite.engine import Engine
from torch import Tensor, nn

from benchmarks.near_empty import Pair, TimedBatches, make_model, make_optimizer
from benchmarks.peers.report import run_peer


def bare(batches: TimedBatches) -> Callable[[], None]:
    """One engine, run again and again."""
    model = make_model()
    optimizer = make_optimizer(model)
    criterion = nn.CrossEntropyLoss()

    def step(engine: Engine, batch: Pair) -> Tensor:
        x, y = batch
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    engine = Engine(step)

    def train() -> None:
        engine.run(batches, max_epochs=1)

    return train


if __name__ == "__main__":
    run_peer("pytorch-ignite", {"bare": bare}, lambda pair: pair)
