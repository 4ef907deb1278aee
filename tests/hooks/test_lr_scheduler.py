"""Learning rates over a run, per epoch and per step, against torch's own schedulers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from cvtrainer.core.errors import UserError
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.lr_scheduler import LRSchedulerHook
from cvtrainer.meters import LossMeter
from tests.toy import batches, toy_trainer


class Rates(BaseHook):
    def __init__(self) -> None:
        self.by_epoch: list[float] = []
        self.by_step: list[float] = []

    def before_epoch(self, stage: Any) -> None:
        self.by_epoch.append(stage.trainer.optimizer.param_groups[0]["lr"])

    def after_step(self, stage: Any) -> None:
        if stage["phase"] == "train":
            self.by_step.append(stage.trainer.optimizer.param_groups[0]["lr"])


def rates(hook: BaseHook, epochs: int, *more: BaseHook, val: Any = False) -> Rates:
    seen = Rates()
    trainer = toy_trainer([*more, hook, seen], train=batches(2), val=val, meters=[LossMeter()])
    trainer.train(epochs)
    seen.by_epoch.append(trainer.optimizer.param_groups[0]["lr"])
    return seen


@pytest.mark.seed("S0-97")
def test_cosine_is_half_way_down_after_fifty_of_a_hundred_epochs() -> None:
    seen = rates(LRSchedulerHook("CosineAnnealingLR", {"T_max": 100}), 100)
    assert seen.by_epoch[0] == pytest.approx(0.1)
    assert seen.by_epoch[50] == pytest.approx(0.05)
    assert seen.by_epoch[100] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.seed("S0-97")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("StepLR", {"step_size": 2, "gamma": 0.5}),
        ("MultiStepLR", {"milestones": [1, 3]}),
        ("ExponentialLR", {"gamma": 0.9}),
        ("LinearLR", {"total_iters": 4}),
        ("PolynomialLR", {"total_iters": 6, "power": 2.0}),
        ("CosineAnnealingWarmRestarts", {"T_0": 3}),
        ("OneCycleLR", {"max_lr": 0.5, "total_steps": 12}),
    ],
)
@pytest.mark.parametrize("by", ["epoch", "step"])
def test_every_scheduler_gives_torchs_rates(name: str, arguments: dict[str, Any], by: Any) -> None:
    seen = rates(LRSchedulerHook(name, arguments, by=by), 6)
    layer = nn.Linear(2, 2)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)
    expected = []
    for _ in range(6 if by == "epoch" else 12):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    found = seen.by_epoch[:6] if by == "epoch" else seen.by_step
    assert found == expected


@pytest.mark.seed("S0-97")
@pytest.mark.parametrize(("metric", "mode"), [("val_loss", "min"), ("val_accuracy", "max")])
def test_plateau_gets_its_metric(metric: str, mode: str) -> None:
    class Script(BaseHook):
        rank = Rank.EVALUATE

        def after_eval(self, stage: Any) -> None:
            value = [0.9, 0.9, 0.9, 0.5, 0.4][stage.epoch - 1]
            other = float(stage.epoch)
            if metric == "val_loss":
                stage["metrics"] = {"val/loss": value, "val/accuracy": other}
            else:
                stage["metrics"] = {"val/loss": -other, "val/accuracy": 1.0 - value / 2}

    arguments = {"patience": 1, "factor": 0.1, "mode": mode}
    hook = LRSchedulerHook("ReduceLROnPlateau", arguments, metric=metric)
    seen = rates(hook, 5, Script(), val=None)
    assert seen.by_epoch == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


def test_the_recorded_rate_is_the_one_that_was_used() -> None:
    recorded = []

    class Record(BaseHook):
        rank = Rank.RECORD

        def after_epoch(self, stage: Any) -> None:
            recorded.append(stage.trainer.optimizer.param_groups[0]["lr"])

    rates(LRSchedulerHook("StepLR", {"step_size": 1, "gamma": 0.5}), 3, Record())
    assert recorded == pytest.approx([0.1, 0.05, 0.025])


def test_what_does_not_exist_is_one_line() -> None:
    with pytest.raises(UserError, match="CosineAnnealingLR"):
        rates(LRSchedulerHook("CosineAnealingLR", {"T_max": 3}), 1)
    with pytest.raises(UserError, match="metric"):
        rates(LRSchedulerHook("ReduceLROnPlateau", {}, metric="val_f1"), 1, val=None)


@pytest.mark.seed("S3-70")
def test_torchs_cosine_comes_up_again() -> None:
    seen = rates(LRSchedulerHook("CosineAnnealingLR", {"T_max": 10}), 20)
    expected = [0.1, 0.05, 0.0, 0.05, 0.1]
    assert seen.by_epoch[::5] == pytest.approx(expected, abs=1e-9)


@pytest.mark.seed("S2-98")
def test_without_a_schedule_the_rate_stays() -> None:
    assert set(rates(BaseHook(), 2).by_step) == {0.1}


@pytest.mark.seed("S2-99", "S3-71")
@pytest.mark.parametrize("by", ["epoch", "step"])
def test_a_warm_up_counts_steps_whatever_the_curve_counts(by: Any) -> None:
    arguments = {"warmup": {"steps": 4, "factor": 0.2}, "final": 0.1}
    seen = rates(LRSchedulerHook("linear", arguments, by=by), 5)
    expected = []
    for done in range(10):
        share = done / 10 if by == "step" else (done // 2) / 5
        expected.append(0.1 * (1 - 0.9 * share) * (0.2 + 0.8 * min(done / 4, 1)))
    assert seen.by_step == pytest.approx(expected)


@pytest.mark.seed("S2-97")
def test_a_plateau_has_a_short_name_too() -> None:
    hook = LRSchedulerHook("plateau", {"patience": 100})
    assert set(rates(hook, 2, val=None).by_step) == {0.1}
