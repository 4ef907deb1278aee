"""The plateau rule is torch's number for number, works with a warm-up and asks the meter."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from cvtrainer.core.errors import UserError
from cvtrainer.hooks import LRSchedulerHook
from cvtrainer.hooks.base import BaseHook
from cvtrainer.meters import AccuracyMeter, LossMeter
from cvtrainer.optim import Schedule, build_schedule
from tests.toy import batches, toy_trainer

METRICS = [1.0, 0.9, 0.9, 0.91, 0.9, 0.95, 0.8999, float("nan"), 0.7, 0.7, 0.8, 0.9, 0.6, 0.6, 0.6]


def optimizer(kind: Any = SGD) -> Optimizer:
    groups: list[dict[str, Any]] = [
        {"params": nn.Linear(2, 2).parameters(), "lr": 0.3},
        {"params": nn.Linear(2, 2).parameters(), "kind": "bias"},
    ]
    made: Optimizer = kind(groups, lr=0.1, momentum=0.9)
    return made


def rates(made: Optimizer) -> list[float]:
    return [float(group["lr"]) for group in made.param_groups]


@pytest.mark.seed("S2-97")
@pytest.mark.parametrize(
    "rule",
    [
        {"patience": 1},
        {"patience": 0, "cooldown": 2, "factor": 0.3},
        {"patience": 1, "threshold": 0.05, "threshold_mode": "abs", "min_lr": [0.01, 0.02]},
        {"patience": 0, "factor": 0.5, "eps": 0.04},
        {"mode": "max", "patience": 1, "threshold": 0.1},
    ],
)
def test_rates_are_torchs(rule: dict[str, Any]) -> None:
    ours, theirs = optimizer(), optimizer()
    schedule = build_schedule(ours, "plateau", {"mode": "min", **rule})
    reference = ReduceLROnPlateau(theirs, **{"mode": "min", **rule})
    assert schedule.needs_metric
    seen = set()
    for metric in METRICS:
        schedule.advance(metric)
        reference.step(metric)
        assert rates(ours) == rates(theirs)
        seen.add(tuple(rates(ours)))
    assert len(seen) > 2


def driven(schedule: Schedule, made: Optimizer, metrics: list[float]) -> list[list[float]]:
    """Three steps before each evaluation."""
    curve = []
    for metric in metrics:
        for _ in range(3):
            curve.append(rates(made))
            schedule.warm_up()
        schedule.advance(metric)
    return curve


@pytest.mark.seed("S4-52")
def test_a_warm_up_leads_to_the_reduced_rate() -> None:
    made = optimizer()
    warmup = {"steps": 6, "factor": 0.0, "bias_lr": 0.4}
    schedule = build_schedule(made, "plateau", {"patience": 0, "factor": 0.5, "warmup": warmup})
    curve = driven(schedule, made, [1.0, 1.0, 1.0])
    first = [0.3 * k / 6 for k in range(6)] + [0.15] * 3
    bias = [0.4 + (0.1 - 0.4) * k / 6 for k in range(6)] + [0.05] * 3
    assert [one[0] for one in curve] == pytest.approx(first)
    assert [one[1] for one in curve] == pytest.approx(bias)
    assert rates(made) == pytest.approx([0.075, 0.025])


def test_with_delay_nothing_is_judged_before_the_warm_up_is_over() -> None:
    made = optimizer()
    warmup = {"steps": 6, "delay": True}
    schedule = build_schedule(made, "plateau", {"patience": 0, "warmup": warmup})
    driven(schedule, made, [1.0])
    schedule.advance(1.0)
    driven(schedule, made, [1.0])
    assert rates(made) == pytest.approx([0.3, 0.1])
    schedule.advance(1.0)
    assert rates(made) == pytest.approx([0.03, 0.01])


@pytest.mark.parametrize("done", [1, 2, 5, 9])
def test_it_goes_on_exactly(done: int) -> None:
    words = {"patience": 1, "cooldown": 1, "warmup": {"steps": 5, "momentum": 0.5}}
    made = optimizer()
    schedule = build_schedule(made, "plateau", words)
    driven(schedule, made, METRICS[:done])
    file = io.BytesIO()
    torch.save({"optimizer": made.state_dict(), "schedule": schedule.state_dict()}, file)
    expected = driven(schedule, made, METRICS[done:])
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = optimizer()
    again.load_state_dict(saved["optimizer"])
    resumed = build_schedule(again, "plateau", words)
    resumed.load_state_dict(saved["schedule"])
    assert driven(resumed, again, METRICS[done:]) == expected
    assert again.state_dict()["param_groups"] == made.state_dict()["param_groups"]


@pytest.mark.parametrize(("metric", "falls"), [("val_accuracy", False), ("val_loss", True)])
def test_a_hook_asks_the_meter_which_way_is_better(metric: str, falls: bool) -> None:
    """Both rise at each evaluation: better for one, worse for the other."""

    class Rising(BaseHook):
        def after_eval(self, stage: Any) -> None:
            stage["metrics"] = {metric.replace("_", "/"): float(stage.epoch)}

    hook = LRSchedulerHook("plateau", {"patience": 0}, metric=metric)
    meters = [LossMeter(), AccuracyMeter(topk=[1])]
    trainer = toy_trainer([Rising(), hook], train=batches(2), val=None, meters=meters)
    trainer.train(3)
    assert (trainer.optimizer.param_groups[0]["lr"] < 0.05) is falls


@pytest.mark.parametrize("by", ["epoch", "step"])
def test_its_warm_up_goes_step_by_step_whatever_the_hook_counts(by: Any) -> None:
    seen = []

    class Rates(BaseHook):
        def before_step(self, stage: Any) -> None:
            if stage.phase == "train":
                seen.append(stage.trainer.optimizer.param_groups[0]["lr"])

    hook = LRSchedulerHook("plateau", {"patience": 9, "warmup": {"steps": 4}}, by=by)
    toy_trainer([hook, Rates()], train=batches(2), val=None, meters=[LossMeter()]).train(3)
    assert seen == pytest.approx([0.0, 0.025, 0.05, 0.075, 0.1, 0.1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"mode": "up"}, "auto, min or max"),
        ({"factor": 1.5}, "between 0 and 1"),
        ({"min_lr": [0.1]}, "1 rates for 2 groups"),
    ],
)
def test_what_makes_no_sense_is_one_line(words: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_schedule(optimizer(), "plateau", words)
