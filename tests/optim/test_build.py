"""Parameter groups: which parameters, with which rates."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.experiment import Experiment
from cvtrainer.optim import build_optimizer
from tests.project import change, write_project


class ThreeParts(nn.Module):
    """The usual parts and one more."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.adapter = nn.Linear(4, 3)
        self.head = nn.Linear(3, 2)
        self.extra = nn.Linear(2, 2)
        self.plain = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.extra(self.head(self.adapter(self.backbone(x))))
        return out


def rates(optimizer: Optimizer) -> dict[str, float]:
    return {group["name"]: group["lr"] for group in optimizer.param_groups}


@pytest.mark.seed("S0-24")
@pytest.mark.parametrize("kind", [Adam, SGD, AdamW])
def test_the_class_is_the_one_asked_for(kind: type[Optimizer]) -> None:
    assert type(build_optimizer(ThreeParts(), kind, {"lr": 0.001}, {})) is kind


@pytest.mark.seed("S0-24")
@pytest.mark.parametrize("kind", [Adam, SGD, AdamW])
@pytest.mark.parametrize("before", ["", "torch.optim."])
def test_a_config_names_the_class(kind: type[Optimizer], before: str, tmp_path: Path) -> None:
    named = {"type": before + kind.__name__, "kwargs": {"lr": 0.001}}
    write_project(tmp_path)
    change(tmp_path / "apps/toy/train.yaml", optimizer=named)
    (stage,) = compile_config(tmp_path / "apps/toy/train.yaml").resolved["stages"]
    made = Experiment().optimizers(stage, SupervisedTask(ThreeParts()))
    assert made is not None
    (optimizer,) = made({"model": ThreeParts()}).values()
    assert type(optimizer) is kind


@pytest.mark.seed("S0-25")
def test_arguments_reach_the_optimizer() -> None:
    optimizer = build_optimizer(
        ThreeParts(), AdamW, {"lr": 0.001, "betas": [0.8, 0.9], "weight_decay": 0.2}, {}
    )
    group = optimizer.param_groups[0]
    assert group["lr"] == 0.001
    assert tuple(group["betas"]) == (0.8, 0.9)
    assert group["weight_decay"] == 0.2
    assert len(optimizer.param_groups) == 1
    momentum = build_optimizer(ThreeParts(), SGD, {"lr": 0.1, "momentum": 0.9}, {})
    assert momentum.param_groups[0]["momentum"] == 0.9


@pytest.mark.seed("S0-26")
def test_each_part_has_its_rate() -> None:
    model = ThreeParts()
    del model.extra
    optimizer = build_optimizer(
        model, Adam, {"lr": 0.001}, {"backbone": 0.001, "adapter": 0.01, "head": 0.1}
    )
    assert rates(optimizer) == {"backbone": 0.001, "adapter": 0.01, "head": 0.1}
    parameters = {group["name"]: group["params"] for group in optimizer.param_groups}
    assert parameters["head"] == list(model.head.parameters())
    assert parameters["backbone"] == list(model.backbone.parameters())


@pytest.mark.seed("S0-27")
def test_everything_else_trains_at_the_default_rate() -> None:
    model = ThreeParts()
    optimizer = build_optimizer(model, SGD, {"lr": 0.5}, {"backbone": 0.0, "head": 0.1})
    assert rates(optimizer) == {"backbone": 0.0, "head": 0.1, "default": 0.5}
    before = {name: value.clone() for name, value in model.named_parameters()}
    model(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()
    after = dict(model.named_parameters())
    for name in ("extra.weight", "extra.bias", "adapter.weight", "head.weight"):
        assert not torch.equal(before[name], after[name]), name
    assert torch.equal(before["backbone.0.weight"], after["backbone.0.weight"])
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(held) == len(set(held)) == len(before)


@pytest.mark.seed("S0-27")
def test_the_most_exact_part_wins() -> None:
    model = ThreeParts()
    optimizer = build_optimizer(
        model, SGD, {"lr": 0.5}, {"backbone": 0.1, "backbone.1": 0.2, "head.bias": 0.3}
    )
    groups = {group["name"]: group["params"] for group in optimizer.param_groups}
    assert groups["backbone.1"] == list(model.backbone[1].parameters())
    assert groups["backbone"] == list(model.backbone[0].parameters())
    assert groups["head.bias"] == [model.head.bias]


def test_frozen_parameters_and_empty_parts_are_left_out() -> None:
    model = ThreeParts()
    model.backbone.requires_grad_(False)
    model.head.bias.requires_grad_(False)
    optimizer = build_optimizer(
        model, SGD, {"lr": 0.5}, {"backbone": 0.1, "plain": 0.1, "head": 0.2}
    )
    assert rates(optimizer) == {"head": 0.2, "default": 0.5}
    assert optimizer.param_groups[0]["params"] == [model.head.weight]
    model.requires_grad_(False)
    with pytest.raises(UserError, match="no trainable parameters"):
        build_optimizer(model, SGD, {"lr": 0.5}, {})


def test_shared_parameters_are_trained_once() -> None:
    model = ThreeParts()
    model.extra = cast(nn.Linear, model.backbone[0])
    optimizer = build_optimizer(model, SGD, {"lr": 0.5}, {"backbone": 0.1, "extra": 0.2})
    assert rates(optimizer) == {"backbone": 0.1, "default": 0.5}


@pytest.mark.parametrize(
    ("layerwise", "message"),
    [
        ({"bakbone": 0.1}, "no part 'bakbone'. Did you mean backbone?"),
        ({"neck": 0.1}, "Its parts are backbone, adapter, head, extra, plain."),
    ],
)
def test_a_part_that_is_not_there(layerwise: dict[str, float], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_optimizer(ThreeParts(), SGD, {"lr": 0.1}, layerwise)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "kwargs", "message"),
    [
        (AdamW, {"weight_dacay": 0.1}, "'weight_dacay'. Did you mean weight_decay?"),
        (SGD, {"lr": -1.0}, "SGD: Invalid learning rate"),
        (torch.optim.LBFGS, {}, "several times per step"),
        (torch.optim.Muon, {"lr": 0.1}, "Muon"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(
    kind: type[Optimizer], kwargs: dict[str, float], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        build_optimizer(ThreeParts(), kind, kwargs, {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class Picky(SGD):
    """A user's optimizer with a mistake of its own."""

    def __init__(self, params: object, lr: float) -> None:
        raise ValueError("mine")


def test_an_error_of_the_users_own_class_passes_through() -> None:
    with pytest.raises(ValueError, match="mine"):
        build_optimizer(ThreeParts(), Picky, {"lr": 0.1}, {})
    with pytest.raises(UserError, match="Picky needs lr"):
        build_optimizer(ThreeParts(), Picky, {}, {"backbone": 0.1})
