"""One config asks for everything that a step may be made of, and gets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cvtrainer.core.compile import compile_config
from cvtrainer.ddp.world import World
from cvtrainer.experiment import Experiment, Surroundings
from cvtrainer.hooks import EarlyStoppingHook, LRSchedulerHook
from cvtrainer.hooks.base import BaseHook, Rank
from tests.project import change, write_project

EVERYTHING: dict[str, Any] = {
    "epochs": 5,
    "optimizer": {
        "type": "SGD",
        "lr": 0.01,
        "momentum": 0.937,
        "weight_decay": 0.0005,
        "groups": {"no_decay": ["norm", "bias"]},
    },
    "hooks": [
        {"type": "nominal_batch", "size": 8},
        {"type": "amp", "dtype": "float16", "init_scale": 1024.0},
        {"type": "clip_gradients", "max_norm": 10.0},
        {
            "type": "lr_scheduler",
            "scheduler_type": "cosine",
            "scheduler_kwargs": {
                "final": 0.01,
                "warmup": {"epochs": 3.0, "bias_lr": 0.1, "momentum": 0.8},
            },
        },
        {"type": "early_stopping", "metric_name": "val_loss", "patience": 2},
    ],
}
COSINE = (1.0, 0.905463, 0.657963, 0.352037, 0.104537)
"""Shares of the full rate over five epochs, down to a hundredth, computed elsewhere."""


class Order(BaseHook):
    """What is where when the optimizer moves."""

    rank = Rank.SAVE

    def __init__(self) -> None:
        self.lengths: list[float] = []
        self.groups: list[list[tuple[str, float, float, float]]] = []

    def before_optimize(self, stage: Any) -> None:
        gradients = [one.grad.flatten() for one in stage.model.parameters()]
        self.lengths.append(float(torch.cat(gradients).norm()))
        self.groups.append(
            [
                (group["kind"], group["lr"], group["momentum"], group["weight_decay"])
                for group in stage.trainer.optimizer.param_groups
            ]
        )


@pytest.mark.seed("S4-19", "S4-20", "S4-21", "S4-22", "S4-31")
@pytest.mark.seed("S4-44", "S4-48", "S4-49", "S4-50", "S4-51", "S4-52")
def test_all_of_it_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """18 pictures in batches of 4, two batches to a step: three steps an epoch, nine to warm up."""
    config = write_project(tmp_path)
    change(config, **EVERYTHING)
    monkeypatch.chdir(tmp_path)
    compiled = compile_config(config, ["device=cpu"])
    order = Order()
    around = Surroundings(run=None, world=World(), device="cpu", checkpoints=tmp_path / "saved")
    around.adapt_hooks = lambda hooks: [*hooks, order]
    trainer = Experiment(compiled.path).trainer(compiled.resolved["stages"][0], around)
    assert trainer.plan.accumulate == 2
    assert trainer.plan.scaler is not None
    assert isinstance(trainer.hooks["early_stopping"], EarlyStoppingHook)
    assert isinstance(trainer.hooks["lr_scheduler"], LRSchedulerHook)
    trainer.train(5)
    assert trainer.clock.step == len(order.groups) == 15
    assert max(order.lengths) <= 10.0 + 1e-3
    kinds = [kind for kind, *_ in order.groups[0]]
    assert kinds == ["weight", "norm", "bias"]
    assert [decay for *_, decay in order.groups[0]] == pytest.approx([0.0005, 0.0, 0.0])
    for step, groups in enumerate(order.groups):
        way, target = min(step / 9, 1.0), 0.01 * COSINE[step // 3]
        (_, weight, momentum, _), _, (_, bias, _, _) = groups
        assert weight == pytest.approx(target * way, rel=1e-5)
        assert bias == pytest.approx(0.1 + (target - 0.1) * way, rel=1e-5)
        assert momentum == pytest.approx(0.8 + 0.137 * way)
