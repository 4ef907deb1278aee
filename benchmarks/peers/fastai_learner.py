"""fastai: a Learner without bar and without validation batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper
from torch import nn

from benchmarks.near_empty import LEARNING_RATE, TimedBatches, make_model
from benchmarks.peers.report import run_peer


def bare(batches: TimedBatches) -> Callable[[], None]:
    """One learner, fitted again and again; its validation set is empty."""
    for loader in (empty := TimedBatches([]), batches):
        loader.n_inp = 1
        loader.dataset = loader.batches
        loader.device = torch.device("cpu")
    learner = Learner(
        DataLoaders(batches, empty),
        make_model(),
        loss_func=nn.CrossEntropyLoss(),
        opt_func=partial(OptimWrapper, opt=partial(torch.optim.SGD, foreach=False)),
        lr=LEARNING_RATE,
        train_bn=False,
    )

    bars = [callback for callback in learner.cbs if isinstance(callback, ProgressCallback)]

    def train() -> None:
        with learner.no_logging(), learner.removed_cbs(bars):
            learner.fit(1)

    return train


if __name__ == "__main__":
    run_peer("fastai", {"default callbacks": bare}, lambda pair: pair)
