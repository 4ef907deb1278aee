"""Schedules as functions: golden numbers, torch's own values, and resuming in the middle."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer, lr_scheduler

from cvtrainer.core.catalog import SCHEDULERS
from cvtrainer.core.errors import UserError
from cvtrainer.optim import Schedule, build_schedule
from cvtrainer.optim.schedules import Length, Unit, curves

OWN: dict[str, dict[str, Any]] = {
    "constant": {"warmup": {"steps": 6, "momentum": 0.5}},
    "step": {"step_size": 3},
    "multi_step": {"milestones": [2, 5], "warmup": {"steps": 3}},
    "cosine": {"total_steps": 12, "warmup": {"steps": 5, "delay": True}},
    "linear": {"total_steps": 12, "warmup": {"steps": 5, "method": "constant", "factor": 0.1}},
    "polynomial": {"total_steps": 12},
    "exponential": {"gamma": 0.8, "final": 0.01},
    "one_cycle": {"total_steps": 14},
    "warmup_cosine": {"total_steps": 12, "warmup_steps": 6},
    "warmup_polynomial": {"total_steps": 12, "warmup_steps": 6},
    "warmup_multi_step": {"milestones": [7], "warmup_steps": 6},
}


def optimizer(lr: float = 0.1, kind: type[Optimizer] = SGD, **more: Any) -> Optimizer:
    layer = nn.Linear(2, 2)
    groups: list[dict[str, Any]] = [
        {"params": [layer.weight], "name": "default", "kind": "weight"},
        {"params": [layer.bias], "name": "default/bias", "kind": "bias", "lr": lr},
    ]
    return kind(groups, lr=lr, **more)  # type: ignore[call-arg]


def curve(made: Optimizer, schedule: Schedule, count: int, group: int = 0) -> list[float]:
    """The rates of so many steps, the first one included."""
    rates = []
    for _ in range(count):
        rates.append(made.param_groups[group]["lr"])
        made.step()
        schedule.advance()
    return rates


def test_the_catalogue_is_tried() -> None:
    assert sorted([*OWN, "plateau"]) == [name for name, _ in SCHEDULERS.items()]


@pytest.mark.seed("S1-33")
def test_every_curve_is_torchs_over_two_hundred_steps() -> None:
    """Of the two, torch multiplies the last rate: they agree to float precision."""
    pairs: list[tuple[str, dict[str, Any], Callable[[Optimizer], Any]]] = [
        ("step", {"step_size": 30}, lambda o: lr_scheduler.StepLR(o, 30)),
        ("multi_step", {"milestones": [50, 120]}, lambda o: lr_scheduler.MultiStepLR(o, [50, 120])),
        ("cosine", {}, lambda o: lr_scheduler.CosineAnnealingLR(o, 200)),
        ("cosine", {"final": 0.1}, lambda o: lr_scheduler.CosineAnnealingLR(o, 200, eta_min=0.01)),
        ("linear", {"final": 0.01}, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.01, 200)),
        ("exponential", {"gamma": 0.97}, lambda o: lr_scheduler.ExponentialLR(o, 0.97)),
        ("polynomial", {"power": 2.5}, lambda o: lr_scheduler.PolynomialLR(o, 200, 2.5)),
        ("one_cycle", {}, lambda o: lr_scheduler.OneCycleLR(o, 0.1, 200)),
        (
            "one_cycle",
            {"max_lr": 0.7, "anneal": "linear", "pct_start": 0.2},
            lambda o: lr_scheduler.OneCycleLR(o, 0.7, 200, pct_start=0.2, anneal_strategy="linear"),
        ),
    ]
    for name, arguments, theirs in pairs:
        for kind, more in ((SGD, {"momentum": 0.9}), (AdamW, {})):
            made, plain = optimizer(kind=kind, **more), optimizer(kind=kind, **more)
            ours = build_schedule(made, name, arguments, unit="step", length=Length(2, 200))
            expected = theirs(plain)
            for done in range(200):
                for own, their in zip(made.param_groups, plain.param_groups, strict=True):
                    assert own["lr"] == pytest.approx(their["lr"], rel=1e-12, abs=1e-15), (
                        name,
                        done,
                    )
                    if name == "one_cycle":
                        slots = (own.get("momentum", 0.0), *own.get("betas", ()))
                        wanted = (their.get("momentum", 0.0), *their.get("betas", ()))
                        assert slots == pytest.approx(wanted, rel=1e-12)
                made.step()
                plain.step()
                ours.advance()
                if done < 199:
                    expected.step()


@pytest.mark.seed("S1-33", "S1-36")
def test_one_cycle_peaks_at_the_learning_rate() -> None:
    made = optimizer(4e-4)
    schedule = build_schedule(
        made, "one_cycle", {"pct_start": 0.1}, unit="step", length=Length(1, 100)
    )
    rates = curve(made, schedule, 120)
    assert [rates[0], rates[9], rates[99]] == pytest.approx([1.6e-5, 4e-4, 1.6e-9], rel=1e-12)
    assert max(rates) == rates[9]
    assert set(rates[100:]) == {rates[99]}


@pytest.mark.seed("S2-93", "S2-94", "S2-95", "S2-96", "S2-99")
def test_warm_up_then_milestones() -> None:
    made = optimizer(0.01)
    arguments = {
        "milestones": [40000, 120000, 180000, 240000],
        "gamma": 0.1,
        "warmup_factor": 0.01,
        "warmup_steps": 500,
        "total_steps": 200000,
    }
    with pytest.warns(UserWarning, match="240000 lie beyond the run's 200000") as told:
        schedule = build_schedule(
            made, "warmup_multi_step", arguments, unit="step", length=Length(1, 200000)
        )
    assert len(told) == 1
    scheduler: Any = schedule.scheduler
    golden = {0: 1e-4, 250: 5.05e-3, 500: 1e-2, 39999: 1e-2, 40000: 1e-3, 120000: 1e-4}
    for done, rate in {**golden, 180000: 1e-5, 199999: 1e-5, 250000: 1e-5}.items():
        scheduler.step(done)
        assert made.param_groups[0]["lr"] == pytest.approx(rate, rel=1e-12), done


@pytest.mark.seed("S2-95")
def test_a_length_that_is_not_the_runs_is_told_and_its_end_is_held() -> None:
    made = optimizer()
    with pytest.warns(UserWarning, match="total_steps is 10, the run has 20"):
        schedule = build_schedule(
            made, "cosine", {"total_steps": 10, "final": 0.2}, unit="step", length=Length(2, 20)
        )
    assert curve(made, schedule, 20)[10:] == pytest.approx([0.02] * 10)


@pytest.mark.seed("S2-96")
def test_a_constant_warm_up_holds_its_factor() -> None:
    made = optimizer()
    warmup = {"steps": 5, "factor": 0.01, "method": "constant"}
    schedule = build_schedule(made, "constant", {"warmup": warmup}, unit="step")
    assert curve(made, schedule, 8) == pytest.approx([0.001] * 5 + [0.1] * 3)


@pytest.mark.seed("S2-97", "S3-71", "S2-99")
@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("name", ["warmup_cosine", "warmup_polynomial"])
def test_warm_up_then_a_curve_to_the_end(name: str, delay: bool) -> None:
    made = optimizer()
    arguments = {"warmup_steps": 10, "warmup_factor": 0.1, "delay": delay}
    schedule = build_schedule(made, name, arguments, unit="step", length=Length(1, 50))
    formula = curves.cosine if name == "warmup_cosine" else curves.polynomial
    more: dict[str, Any] = {"final": 0.0}
    more |= {"total_steps": 40 if delay else 50}
    more |= {} if name == "warmup_cosine" else {"power": 2.0}
    expected = []
    for done in range(60):
        share = formula(max(0, done - 10) if delay else done, **more)
        expected.append(0.1 * share * (0.1 + 0.9 * min(done / 10, 1)))
    found = curve(made, schedule, 60)
    assert found == pytest.approx(expected)
    assert found[50:] == pytest.approx([0.0] * 10)


@pytest.mark.seed("S4-21", "S4-43", "S4-45", "S4-46", "S4-47")
@pytest.mark.parametrize(
    ("name", "arguments", "golden"),
    [
        ("cosine", {}, [1, 0.855018, 0.505, 0.154982, 0.01]),
        ("linear", {}, [1, 0.7525, 0.505, 0.2575, 0.01]),
        ("exponential", {"gamma": 0.9}, [1, 0.081072, 0.015102, 0.010366, 0.010026]),
        ("polynomial", {"power": 2.0}, [1, 0.566875, 0.2575, 0.071875, 0.01]),
    ],
)
def test_factors_over_a_hundred_epochs(
    name: str, arguments: dict[str, float], golden: list[float]
) -> None:
    made = optimizer(1.0)
    schedule = build_schedule(made, name, {"final": 0.01, **arguments}, length=Length(100, 800))
    rates = curve(made, schedule, 101)
    assert rates[::25] == pytest.approx(golden, abs=5e-7)


@pytest.mark.seed("S4-44", "S4-50", "S4-51", "S4-52")
@pytest.mark.parametrize(("kind", "more"), [(SGD, {"momentum": 0.937}), (AdamW, {})])
def test_biases_come_down_while_all_else_rises(kind: type[Optimizer], more: dict[str, Any]) -> None:
    more = more or {"betas": (0.937, 0.999)}
    made = optimizer(0.01, kind, **more)
    warmup = {"epochs": 2.5, "bias_lr": 0.1, "momentum": 0.8}
    arguments = {"final": 0.01, "warmup": warmup}
    schedule = build_schedule(made, "cosine", arguments, length=Length(10, 70, per_epoch=7))
    for done in range(70):
        at = min(done / 18, 1.0)
        target = 0.01 * curves.cosine(done // 7, total_steps=10, final=0.01)
        weight, bias = made.param_groups
        assert weight["lr"] == pytest.approx(target * at, rel=1e-12), done
        assert bias["lr"] == pytest.approx(0.1 + (target - 0.1) * at, rel=1e-12), done
        for group in made.param_groups:
            momentum = group["betas"][0] if "betas" in group else group["momentum"]
            assert momentum == pytest.approx(0.8 + 0.137 * at, rel=1e-12)
        made.step()
        schedule.warm_up()
        if done % 7 == 6:
            schedule.advance()
    assert made.param_groups[0]["lr"] == pytest.approx(1e-4)


@pytest.mark.parametrize("name", sorted(OWN))
@pytest.mark.parametrize("unit", ["epoch", "step"])
@pytest.mark.parametrize("optimizer_first", [True, False])
def test_resumed_in_the_middle_it_goes_on_exactly(
    name: str, unit: Unit, optimizer_first: bool
) -> None:
    def made() -> Optimizer:
        return optimizer(momentum=0.9)

    def build(one: Optimizer) -> Schedule:
        return build_schedule(one, name, OWN[name], unit=unit, length=Length(12, 24, 2))

    def walk(one: Optimizer, schedule: Schedule, steps: range) -> list[Any]:
        seen = []
        for done in steps:
            seen.append([(group["lr"], group["momentum"]) for group in one.param_groups])
            one.step()
            if unit == "step":
                schedule.advance()
                continue
            schedule.warm_up()
            if done % 2:
                schedule.advance()
        return seen

    first = made()
    schedule = build(first)
    walk(first, schedule, range(4))
    file = io.BytesIO()
    torch.save({"optimizer": first.state_dict(), "schedule": schedule.state_dict()}, file)
    expected = walk(first, schedule, range(4, 24))

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again = made()
    if optimizer_first:
        again.load_state_dict(saved["optimizer"])
    resumed = build(again)
    if not optimizer_first:
        again.load_state_dict(saved["optimizer"])
    resumed.load_state_dict(saved["schedule"])
    assert walk(again, resumed, range(4, 24)) == expected


def test_inside_torchs_own_sequence() -> None:
    made = optimizer()
    inner = [
        {"scheduler_type": "constant", "scheduler_kwargs": {"warmup": {"steps": 3}}},
        {"scheduler_type": "cosine"},
    ]
    schedule = build_schedule(
        made,
        "SequentialLR",
        {"schedulers": inner, "milestones": [3]},
        unit="step",
        length=Length(1, 10),
    )
    rates = curve(made, schedule, 11)
    assert rates[:4] == pytest.approx([0.0, 0.1 / 3, 0.2 / 3, 0.1])
    assert rates[10] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("cosinus", {}, "Did you mean cosine?"),
        ("cosine", {"warmup": {"step": 3}}, "takes no 'step'. Did you mean steps?"),
        ("cosine", {"warmup": {"steps": 3, "method": "quick"}}, '"linear" or "constant"'),
        ("cosine", {"warmup": "3 weeks"}, "no duration"),
        ("cosine", {"warmup": {"epochs": 3, "steps": 2}}, "keep one"),
        ("cosine", {"warmup": {"steps": 99, "delay": True}}, "over before the warm-up"),
        ("cosine", {"gamma": 1}, "cosine takes no argument 'gamma'"),
        ("step", {}, "step needs step_size"),
        ("one_cycle", {"max_lr": [1.0]}, "1 rates for 2 groups"),
        ("one_cycle", {"anneal": "up"}, "cos or linear"),
    ],
)
def test_what_is_wrong_is_one_line(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_schedule(optimizer(), name, arguments, unit="step", length=Length(2, 20))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
