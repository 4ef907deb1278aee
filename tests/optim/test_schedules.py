"""Schedules move the rates as torch's do and continue exactly where they stopped."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, lr_scheduler

from cvtrainer.core.errors import UserError
from cvtrainer.optim import Schedule, build_schedule, scheduler_class
from cvtrainer.optim.schedules import Length, Unit

WARM_UP: dict[str, Any] = {
    "schedulers": [
        {"scheduler_type": "LinearLR", "scheduler_kwargs": {"start_factor": 0.1, "total_iters": 3}},
        {"scheduler_type": "CosineAnnealingLR", "scheduler_kwargs": {"T_max": 7}},
    ]
}
EVERY: dict[str, dict[str, Any]] = {
    "LambdaLR": {"lr_lambda": lambda epoch: 0.9**epoch},
    "MultiplicativeLR": {"lr_lambda": lambda epoch: 0.9},
    "StepLR": {"step_size": 3},
    "MultiStepLR": {"milestones": [2, 5]},
    "ConstantLR": {"total_iters": 4},
    "LinearLR": {"total_iters": 4},
    "ExponentialLR": {"gamma": 0.8},
    "SequentialLR": {**WARM_UP, "milestones": [3]},
    "CosineAnnealingLR": {"T_max": 10},
    "ChainedScheduler": WARM_UP,
    "ReduceLROnPlateau": {"patience": 1},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.5, "step_size_up": 3},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "OneCycleLR": {"max_lr": 1.0, "total_steps": 20},
    "PolynomialLR": {"total_iters": 8},
}


def optimizer() -> SGD:
    groups: list[dict[str, Any]] = [
        {"params": nn.Linear(2, 2).parameters(), "lr": 0.1, "name": "head"},
        {"params": nn.Linear(2, 2).parameters(), "name": "default"},
    ]
    return SGD(groups, lr=0.5, momentum=0.9)


def rates(made: SGD) -> list[tuple[float, float]]:
    return [(group["lr"], group["momentum"]) for group in made.param_groups]


def walk(made: SGD, schedule: Schedule, count: int) -> list[list[tuple[float, float]]]:
    curve = []
    for _ in range(count):
        made.step()
        schedule.advance(1.0 if schedule.needs_metric else None)
        curve.append(rates(made))
    return curve


def test_every_scheduler_of_torch_is_tried() -> None:
    assert sorted(EVERY) == sorted(set(lr_scheduler.__all__) - {"LRScheduler"})
    assert all(scheduler_class(name).__name__ == name for name in EVERY)


@pytest.mark.parametrize("name", sorted(EVERY))
@pytest.mark.parametrize("optimizer_first", [True, False])
def test_a_resumed_schedule_goes_on_exactly(name: str, optimizer_first: bool) -> None:
    made = optimizer()
    schedule = build_schedule(made, name, EVERY[name])
    walk(made, schedule, 4)
    file = io.BytesIO()
    torch.save({"optimizer": made.state_dict(), "schedule": schedule.state_dict()}, file)
    expected = walk(made, schedule, 8)

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = optimizer()
    if optimizer_first:
        again.load_state_dict(saved["optimizer"])
    resumed = build_schedule(again, name, EVERY[name])
    if not optimizer_first:
        again.load_state_dict(saved["optimizer"])
    resumed.load_state_dict(saved["schedule"])
    assert walk(again, resumed, 8) == expected


def test_a_plain_schedule_is_torchs() -> None:
    made, plain = optimizer(), optimizer()
    schedule = build_schedule(made, "CosineAnnealingLR", {"T_max": 100})
    theirs = lr_scheduler.CosineAnnealingLR(plain, T_max=100)
    for _ in range(10):
        made.step()
        plain.step()
        schedule.advance()
        theirs.step()
        assert rates(made) == rates(plain)


def test_warm_up_then_cosine() -> None:
    made = optimizer()
    schedule = build_schedule(made, "SequentialLR", EVERY["SequentialLR"])
    assert rates(made)[0][0] == pytest.approx(0.01)
    curve = [step[0][0] for step in walk(made, schedule, 10)]
    assert curve[2] == pytest.approx(0.1)
    assert curve[9] == pytest.approx(0.0, abs=1e-9)
    assert curve[3:] == sorted(curve[3:], reverse=True)


def test_a_plateau_follows_its_metric() -> None:
    made = optimizer()
    schedule = build_schedule(made, "ReduceLROnPlateau", {"mode": "max", "patience": 0})
    assert schedule.needs_metric
    schedule.advance(0.5)
    schedule.advance(0.6)
    assert rates(made)[1][0] == 0.5
    schedule.advance(0.6)
    assert rates(made)[1][0] == pytest.approx(0.05)
    with pytest.raises(UserError, match="follows a metric"):
        schedule.advance()


@pytest.mark.parametrize(("unit", "end"), [("epoch", 5), ("step", 15)])
def test_the_length_of_the_run_is_filled_in(unit: Unit, end: int) -> None:
    made, length = optimizer(), Length(epochs=5, steps=15)
    cosine: Any = build_schedule(made, "CosineAnnealingLR", {}, unit=unit, length=length)
    assert cosine.scheduler.T_max == end
    assert cosine.unit == unit
    cycle: Any = build_schedule(
        optimizer(), "OneCycleLR", {"max_lr": 1.0}, unit=unit, length=length
    )
    assert cycle.scheduler.total_steps == end
    own: Any = build_schedule(made, "CosineAnnealingLR", {"T_max": 3}, unit=unit, length=length)
    assert own.scheduler.T_max == 3
    whole: Any = build_schedule(
        optimizer(), "OneCycleLR", {"max_lr": 1.0, "epochs": 2, "steps_per_epoch": 4}, length=length
    )
    assert whole.scheduler.total_steps == 8


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("CosineAnealingLR", {}, "Did you mean CosineAnnealingLR?"),
        ("StepLR", {"stepsize": 3}, "'stepsize'. Did you mean step_size?"),
        ("CosineAnnealingLR", {}, "CosineAnnealingLR needs T_max"),
        ("SequentialLR", {"schedulers": ["LinearLR"], "milestones": []}, "scheduler_type: NAME"),
        ("SequentialLR", {**WARM_UP, "milestones": []}, "SequentialLR: Sequential Schedulers"),
    ],
)
def test_what_is_wrong_is_told(name: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_schedule(optimizer(), name, kwargs)
    assert message in str(caught.value)


def test_another_number_of_groups_cannot_be_resumed() -> None:
    made = optimizer()
    state = build_schedule(made, "StepLR", {"step_size": 1}).state_dict()
    other = SGD(nn.Linear(2, 2).parameters(), lr=0.1)
    with pytest.raises(UserError, match="2 parameter groups, the optimizer 1"):
        build_schedule(other, "StepLR", {"step_size": 1}).load_state_dict(state)


def test_what_follows_the_warm_up_ends_with_the_run() -> None:
    made = optimizer()
    inner = [
        {"scheduler_type": "LinearLR", "scheduler_kwargs": {"total_iters": 3}},
        {"scheduler_type": "CosineAnnealingLR"},
    ]
    schedule = build_schedule(
        made, "SequentialLR", {"schedulers": inner, "milestones": [3]}, length=Length(epochs=10)
    )
    curve = [step[0][0] for step in walk(made, schedule, 10)]
    assert curve[2] == pytest.approx(0.1)
    assert curve[8] > 0.001
    assert curve[9] == pytest.approx(0.0, abs=1e-9)
