"""Accelerate: the user's own loop with prepared model and optimizer."""

from __future__ import annotations

from collections.abc import Callable

from accelerate import Accelerator
from torch import nn

from benchmarks.near_empty import TimedBatches, make_model, make_optimizer
from benchmarks.peers.report import run_peer


def bare(batches: TimedBatches) -> Callable[[], None]:
    """The loop of Accelerate's guide; the batches need no preparation on one CPU."""
    accelerator = Accelerator(cpu=True)
    model = make_model()
    model, optimizer = accelerator.prepare(model, make_optimizer(model))
    criterion = nn.CrossEntropyLoss()

    def train() -> None:
        for x, y in batches:
            with accelerator.accumulate(model):
                optimizer.zero_grad()
                loss = criterion(model(x), y)
                accelerator.backward(loss)
                optimizer.step()

    return train


if __name__ == "__main__":
    run_peer("accelerate", {"bare": bare}, lambda pair: pair)
