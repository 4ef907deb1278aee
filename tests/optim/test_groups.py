"""Who is in which group: by kind, by depth, by part; and optimizers that torch has not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from cvtrainer.core.catalog import OPTIMIZERS
from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.core.locate import import_target
from cvtrainer.engine.supervised import SupervisedTask
from cvtrainer.experiment import Experiment
from cvtrainer.optim import build_optimizer
from tests.project import change, write_project


class Small(nn.Module):
    """Convolution, BatchNorm, LayerNorm, biases, a scale and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 4))
        self.stem = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(2)
        )
        self.scale = nn.Parameter(torch.ones(4))
        self.blocks2 = nn.ModuleList([nn.MultiheadAttention(4, 1)])
        self.head = nn.Linear(4, 2)


def members(network: nn.Module, optimizer: Optimizer) -> dict[str, list[str]]:
    names = {parameter: name for name, parameter in network.named_parameters()}
    return {
        group["name"]: sorted(names[one] for one in group["params"])
        for group in optimizer.param_groups
    }


@pytest.mark.seed("S4-20", "S4-49", "S1-34", "S2-100")
def test_norms_and_biases_have_no_decay() -> None:
    network = Small()
    made = build_optimizer(
        network,
        AdamW,
        {"lr": 0.1, "weight_decay": 0.05},
        {},
        {"no_decay": ["norm", "bias"]},
    )
    assert type(made) is AdamW
    found = members(network, made)
    assert found["default/norm"] == sorted(
        ["bn.weight", "blocks.0.1.weight", "blocks.1.1.weight", "scale"]
    )
    assert "blocks2.0.in_proj_bias" in found["default/bias"]
    assert all(name.endswith("bias") for name in found["default/bias"])
    assert {"stem.weight", "token", "head.weight"} <= set(found["default/weight"])
    every = [name for names in found.values() for name in names]
    assert sorted(every) == sorted(name for name, _ in network.named_parameters())
    decays = {group["kind"]: group["weight_decay"] for group in made.param_groups}
    assert decays == {"weight": 0.05, "norm": 0.0, "bias": 0.0}


def test_biases_have_a_rate_of_their_own() -> None:
    network = Small()
    made = build_optimizer(
        network,
        SGD,
        {"lr": 0.1, "weight_decay": 0.01},
        {"head": 0.5},
        {"bias_lr": 2.0, "no_decay": "norm"},
    )
    rates = {group["name"]: (group["lr"], group["weight_decay"]) for group in made.param_groups}
    assert rates == {
        "head/weight": (0.5, 0.01),
        "head/bias": (1.0, 0.01),
        "default/weight": (0.1, 0.01),
        "default/norm": (0.1, 0.0),
        "default/bias": (0.2, 0.01),
    }


@pytest.mark.parametrize("kwargs", [{"lr": 0.1}, {}])
def test_a_layer_nearer_the_input_learns_slower(kwargs: dict[str, float]) -> None:
    network = Small()
    lr = kwargs.get("lr", 0.001)
    made = build_optimizer(network, AdamW, kwargs, {}, {"layer_decay": 0.5})
    found = members(network, made)
    assert found["default/depth0"] == sorted(
        ["token", "scale", "stem.weight", "stem.bias", "bn.weight", "bn.bias"]
    )
    assert all(name.startswith("blocks.1.") for name in found["default/depth2"])
    assert found["default/depth4"] == ["head.bias", "head.weight"]
    rates = [group["lr"] for group in made.param_groups]
    assert rates == pytest.approx([lr * 0.5**k for k in (4, 3, 2, 1, 0)])


def test_layer_decay_works_on_the_rate_of_a_part() -> None:
    made = build_optimizer(
        Small(), SGD, {"lr": 0.1}, {"blocks": 1.0}, {"layer_decay": 0.5, "no_decay": ["bias"]}
    )
    rates = {group["name"]: group["lr"] for group in made.param_groups}
    assert rates["blocks/depth1/bias"] == pytest.approx(0.125)
    assert rates["blocks/depth2/weight"] == pytest.approx(0.25)
    assert rates["default/depth4/weight"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"layer_dacay": 0.5}, "takes no 'layer_dacay'. Did you mean layer_decay?"),
        ({"layer_decay": 2}, "between 0 and 1"),
        ({"no_decay": ["norms"]}, "a list of norm and bias"),
    ],
)
def test_what_is_wrong_is_one_line(groups: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_optimizer(Small(), SGD, {"lr": 0.1}, {}, groups)
    assert message in str(caught.value)


def test_a_config_says_the_groups(tmp_path: Path) -> None:
    write_project(tmp_path)
    node = {"type": "Lion", "lr": 0.001, "groups": {"no_decay": ["norm", "bias"]}}
    change(tmp_path / "apps/toy/train.yaml", optimizer=node)
    (stage,) = compile_config(tmp_path / "apps/toy/train.yaml").resolved["stages"]
    made = Experiment().optimizers(stage, SupervisedTask(Small()))
    assert made is not None
    (optimizer,) = made({"model": Small()}).values()
    assert type(optimizer).__module__.startswith("timm.")
    assert [group["kind"] for group in optimizer.param_groups] == ["weight", "norm", "bias"]


@pytest.mark.parametrize("name", [name for name, _ in OPTIMIZERS.items()])
def test_every_optimizer_of_timm_steps(name: str) -> None:
    kind = import_target(OPTIMIZERS.get(name) or "")
    assert kind.__name__ not in torch.optim.__all__
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    made = build_optimizer(network, kind, {"lr": 0.01}, {})
    for _ in range(2):
        made.zero_grad()
        network(torch.ones(4, 3)).square().sum().backward()
        made.step()
    assert not torch.equal(before, network.weight)
    assert torch.isfinite(network.weight).all()


@pytest.mark.seed("S4-42", "S4-48")
@pytest.mark.parametrize("name", ["SGD", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop"])
def test_the_usual_seven_step_and_hold_their_momentum(name: str) -> None:
    kind = getattr(torch.optim, name)
    plain = name in ("SGD", "RMSprop")
    more: dict[str, Any] = {"momentum": 0.937} if plain else {"betas": (0.937, 0.999)}
    network = nn.Linear(3, 2)
    before = network.weight.clone()
    made = build_optimizer(network, kind, {"lr": 0.01, **more}, {}, {"no_decay": ["bias"]})
    network(torch.ones(4, 3)).square().sum().backward()
    made.step()
    assert not torch.equal(before, network.weight)
    held = [group["momentum"] if plain else group["betas"][0] for group in made.param_groups]
    assert held == [0.937, 0.937]


@pytest.mark.parametrize("words", [{"fused": True}, {"foreach": True}])
def test_the_implementation_is_kept_over_a_resume(words: dict[str, bool]) -> None:
    first = build_optimizer(nn.Linear(2, 2), AdamW, {"lr": 0.1, **words}, {})
    again = build_optimizer(nn.Linear(2, 2), AdamW, {"lr": 0.1}, {})
    again.load_state_dict(first.state_dict())
    assert all(again.param_groups[0][word] is value for word, value in words.items())
