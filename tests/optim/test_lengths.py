"""How long warm-ups are in any unit, what a schedule does past its end, and users' functions."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from torch import nn
from torch.optim import SGD, Adagrad, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from cvtrainer.core.errors import UserError
from cvtrainer.hooks import AccumulateHook, LRSchedulerHook
from cvtrainer.hooks.base import BaseHook
from cvtrainer.optim import build_schedule
from cvtrainer.optim.schedules import Length, Unit
from tests.toy import batches, toy_trainer

RUN = Length(epochs=4, steps=40, per_epoch=10)


def optimizer(lr: float = 0.1) -> Optimizer:
    made: Optimizer = SGD(nn.Linear(2, 2).parameters(), lr=lr, momentum=0.9)
    return made


@pytest.mark.seed("S4-50")
@pytest.mark.parametrize(
    ("warmup", "steps"),
    [
        ("5%", 2),
        ("0.5ep", 5),
        ("2ep", 20),
        ("7st", 7),
        (1.5, 15),
        ("1%", 1),
        ({"length": "25%"}, 10),
        ({"epochs": 1.5}, 15),
        ({"epochs": 0.25}, 2),
        ({"steps": 3}, 3),
        ("0%", 0),
    ],
)
@pytest.mark.parametrize("unit", ["epoch", "step"])
def test_a_warm_up_in_any_unit(warmup: Any, steps: int, unit: Unit) -> None:
    schedule: Any = build_schedule(
        optimizer(), "constant", {"warmup": warmup}, unit=unit, length=RUN
    )
    assert schedule.scheduler.warmup.steps == steps


@pytest.mark.parametrize("name", ["warmup_cosine", "warmup_polynomial", "warmup_multi_step"])
def test_the_short_names_take_them_as_well(name: str) -> None:
    words = {"milestones": [2]} if name == "warmup_multi_step" else {}
    made: Any = build_schedule(optimizer(), name, {"warmup_steps": "10%", **words}, length=RUN)
    assert made.scheduler.warmup.steps == 4


@pytest.mark.parametrize(
    ("warmup", "message"),
    [
        ("5%", "share of the run"),
        ("2ep", "run of known length"),
        ({"epochs": 1}, "run of known length"),
    ],
)
def test_a_length_that_nobody_knows_is_one_line(warmup: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_schedule(optimizer(), "constant", {"warmup": warmup})


@pytest.mark.seed("S2-95")
@pytest.mark.parametrize("name", ["cosine", "linear", "polynomial", "one_cycle", "OneCycleLR"])
def test_past_its_end_the_last_value_is_held_and_told_once(name: str) -> None:
    told: list[str] = []
    made = optimizer()
    words = {"max_lr": 0.1} if name == "OneCycleLR" else {}
    schedule = build_schedule(
        made, name, words, unit="step", length=Length(steps=10), tell=told.append
    )
    rates = []
    for _ in range(10):
        rates.append(made.param_groups[0]["lr"])
        made.step()
        schedule.advance()
    assert told == []
    after = set()
    for _ in range(10):
        after.add(made.param_groups[0]["lr"])
        made.step()
        schedule.advance()
    assert len(after) == 1
    assert after.pop() <= rates[-1]
    assert told == [
        "the schedule is over after 10 steps and the run goes on; its last rates are held"
    ]


@pytest.mark.seed("S2-94", "S2-95")
def test_a_run_tells_each_of_it_once() -> None:
    """Milestones and lengths that do not fit are told when the stage begins, the end when it is."""

    def said(hook: LRSchedulerHook, epochs: int) -> list[str]:
        trainer = toy_trainer([hook], train=batches(3), val=False)
        told: list[str] = []
        trainer.say = told.append  # type: ignore[method-assign]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            trainer.train(epochs)
        return told

    late = {"milestones": [2, 50], "total_steps": 6}
    (text,) = said(LRSchedulerHook("multi_step", late, by="step"), 2)
    assert text.startswith("hooks.lr_scheduler: ")
    assert "50 lie beyond the run's 6 and are ignored" in text
    short = LRSchedulerHook("cosine", {"total_steps": 4}, by="step")
    mismatch, over = said(short, 3)
    assert "total_steps is 4, the run has 9" in mismatch
    assert "over after 4 steps" in over


@pytest.mark.seed("S2-99", "S1-36")
@pytest.mark.parametrize("by", ["epoch", "step"])
def test_steps_are_the_optimizers_where_batches_are_gathered(by: Any) -> None:
    """Five batches an epoch, two to a step: three steps an epoch, nine in all."""
    seen = []

    class Rates(BaseHook):
        def before_optimize(self, stage: Any) -> None:
            seen.append(stage.trainer.optimizer.param_groups[0]["lr"])

    words = {"warmup": "1ep", "final": 0.0}
    hooks = [Rates(), AccumulateHook(steps=2), LRSchedulerHook("linear", words, by=by)]
    trainer = toy_trainer(hooks, train=batches(5), val=False)
    trainer.train(3)
    assert trainer.clock.step == 9
    rest = [1 - k / 9 if by == "step" else 1 - (k // 3) / 3 for k in range(9)]
    expected = [0.1 * full * min(k / 3, 1) for k, full in enumerate(rest)]
    assert seen == pytest.approx(expected)


@pytest.mark.seed("S1-36", "S1-33")
def test_one_cycle_rises_for_its_share_of_the_optimizers_steps() -> None:
    seen = []

    class Rates(BaseHook):
        def before_optimize(self, stage: Any) -> None:
            seen.append(stage.trainer.optimizer.param_groups[0]["lr"])

    hooks = [
        Rates(),
        AccumulateHook(steps=4),
        LRSchedulerHook("OneCycleLR", {"max_lr": 0.4, "pct_start": 0.25}, by="step"),
    ]
    toy_trainer(hooks, train=batches(20), val=False).train(4)
    assert len(seen) == 20
    assert seen.index(max(seen)) == 4
    assert max(seen) == pytest.approx(0.4)


def half(done: int) -> float:
    """A user's function."""
    return float(0.5**done)


def test_functions_are_the_users_own() -> None:
    made = optimizer()
    schedule = build_schedule(made, "LambdaLR", {"lr_lambda": half})
    assert isinstance(schedule.scheduler, LambdaLR)
    schedule.advance()
    schedule.advance()
    assert made.param_groups[0]["lr"] == pytest.approx(0.025)


@pytest.mark.seed("S4-51", "S4-52")
@pytest.mark.parametrize(
    ("warmup", "message"),
    [
        ({"steps": 3, "bias_lr": 0.1}, r"keeps biases with the weights. Write optimizer.groups"),
        ({"steps": 3, "momentum": 0.8}, r"this Adagrad has none"),
    ],
)
@pytest.mark.parametrize("name", ["cosine", "plateau"])
def test_a_ramp_of_nothing_is_one_line(name: str, warmup: Any, message: str) -> None:
    made = Adagrad(nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(UserError, match=message):
        build_schedule(made, name, {"warmup": warmup}, length=RUN)
