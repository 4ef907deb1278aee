"""Every optimizer of torch by name: builds, steps, resumes bit for bit, or says what to use."""

from __future__ import annotations

import io
from typing import Any

import pytest
import timm.optim
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import ConfigErrors, UserError
from cvtrainer.optim import build_optimizer

NAMES = [
    name
    for name in torch.optim.__all__
    if isinstance(getattr(torch.optim, name), type) and name != "Optimizer"
]
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 2)
        self.norm = nn.BatchNorm2d(3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.norm(self.stem(x)).relu().mean((2, 3)))
        return out


class Matrices(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(9, 4, bias=False)
        self.second = nn.Linear(4, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x.flatten(1)).relu())
        return out


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 2, sparse=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.table((x.flatten(1).abs() * 3).long() % 5).mean(1)
        return out


NETWORKS: dict[str, type[nn.Module]] = {"Muon": Matrices, "SparseAdam": Words}


def made(name: str, kind: type[Optimizer] | None = None) -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(0)
    network = NETWORKS.get(name, Convolutions)()
    words = {"momentum": 0.9} if name == "SGD" else {}
    return network, build_optimizer(
        network, kind or getattr(torch.optim, name), {"lr": 0.01, **words}, {}
    )


def walk(network: nn.Module, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        x = torch.randn(4, 1, 3, 3, generator=generator)
        optimizer.zero_grad()
        network(x).square().sum().backward()
        optimizer.step()


@pytest.mark.seed("S2-100", "S4-42")
@pytest.mark.parametrize("name", [name for name in NAMES if name != "LBFGS"])
def test_each_of_torch_steps_and_goes_on_exactly(name: str) -> None:
    network, optimizer = made(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    walk(network, optimizer, range(3))
    file = io.BytesIO()
    torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict()}, file)
    walk(network, optimizer, range(3, 6))
    after = network.state_dict()
    assert any(not torch.equal(before[key], after[key]) for key in before)
    assert all(torch.isfinite(value).all() for value in after.values())

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other, again = made(name)
    other.load_state_dict(saved["network"])
    again.load_state_dict(saved["optimizer"])
    walk(other, again, range(3, 6))
    assert all(torch.equal(after[key], value) for key, value in other.state_dict().items())


def test_torch_has_no_others() -> None:
    """A new one is either supported by the test above, or refused by the one below."""
    assert len(NAMES) == 15


@pytest.mark.parametrize(
    ("name", "network", "message"),
    [
        ("LBFGS", Convolutions, "several times per step, which this loop does not. Use AdamW"),
        ("SparseAdam", Convolutions, "and that of stem.weight is dense. Use Adam"),
        ("Muon", Convolutions, "and stem.weight is none. Use timm.optim.Muon"),
    ],
)
def test_what_cannot_work_says_what_to_use(
    name: str, network: type[nn.Module], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        build_optimizer(network(), getattr(torch.optim, name), {"lr": 0.01}, {})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_frozen_parts_are_no_reason_to_refuse() -> None:
    network = Convolutions()
    network.requires_grad_(False)
    network.head.weight.requires_grad_(True)
    assert build_optimizer(network, torch.optim.Muon, {"lr": 0.01}, {}).param_groups


def test_the_muon_that_is_recommended_takes_convolutions() -> None:
    network, optimizer = made("timm's", timm.optim.Muon)
    before = [parameter.clone() for parameter in network.parameters()]
    walk(network, optimizer, range(2))
    pairs = zip(before, network.parameters(), strict=True)
    assert all(not torch.equal(one, other) for one, other in pairs)


def test_lbfgs_is_refused_before_anything_is_built() -> None:
    stage = {
        "model": {"type": "torch.nn.Linear", "in_features": 2, "out_features": 2},
        "criterion": "torch.nn.CrossEntropyLoss",
        "optimizer": {"type": "LBFGS"},
        "dataloader": {"train": {"dataset": {"data_path": "data"}}},
    }
    with pytest.raises(ConfigErrors, match=r"optimizer\.type: LBFGS evaluates .* use AdamW"):
        compile_config(stage)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "LBFGS"])
def test_the_fused_kernel_is_used_where_there_is_one(name: str) -> None:
    _, optimizer = made(name)
    assert optimizer.defaults.get("fused") is (True if name in FUSED else None)


@pytest.mark.parametrize(
    "words",
    [
        {"fused": False},
        {"foreach": True},
        {"foreach": False},
        {"capturable": True},
        {"differentiable": True},
    ],
)
def test_a_choice_of_ones_own_stays(words: dict[str, bool]) -> None:
    optimizer = build_optimizer(Convolutions(), torch.optim.AdamW, {"lr": 0.1, **words}, {})
    assert not optimizer.defaults.get("fused")
    assert all(optimizer.defaults[word] is value for word, value in words.items())


class Mine(torch.optim.AdamW):
    """A user's own optimizer."""


def test_where_it_cannot_work_or_is_not_torchs_it_is_left_alone() -> None:
    assert not build_optimizer(Convolutions(), Mine, {"lr": 0.1}, {}).defaults["fused"]
    assert not build_optimizer(Words(), torch.optim.SGD, {"lr": 0.1}, {}).defaults["fused"]
    network = Words()
    walk(network, build_optimizer(network, torch.optim.SGD, {"lr": 0.1}, {}), range(2))
    whole = Convolutions().to(torch.complex64)
    assert not build_optimizer(whole, torch.optim.SGD, {"lr": 0.1}, {}).defaults["fused"]


def test_fused_and_plain_agree_to_rounding() -> None:
    weights: dict[Any, Any] = {}
    for fused in (True, False):
        torch.manual_seed(0)
        network = Matrices()
        words = {"lr": 0.01, "fused": fused}
        walk(network, build_optimizer(network, torch.optim.AdamW, words, {}), range(10))
        weights[fused] = network.state_dict()
    for key, value in weights[True].items():
        torch.testing.assert_close(value, weights[False][key], rtol=1e-5, atol=1e-6)


def test_a_scaled_step_that_overflows_is_left_out() -> None:
    network, optimizer = made("AdamW")
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    before = [parameter.clone() for parameter in network.parameters()]
    for factor, moves in ((float("inf"), False), (1.0, True)):
        optimizer.zero_grad()
        scaler.scale((network(torch.ones(2, 1, 3, 3)) * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        now = list(network.parameters())
        assert any(not torch.equal(a, b) for a, b in zip(before, now, strict=True)) is moves


@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("part", ["state", "gradients"])
def test_another_memory_layout_is_no_other_weight(name: str, part: str) -> None:
    """State of a run without channels-last, or gradients that a hook has copied."""
    weights = []
    for fused in (None, False):
        torch.manual_seed(0)
        network = nn.Conv2d(3, 4, 3)
        words: dict[str, Any] = {"lr": 0.01} | ({"momentum": 0.9} if name == "SGD" else {})
        kind = getattr(torch.optim, name)
        first = build_optimizer(network, kind, {**words, "fused": fused}, {})
        x = torch.randn(2, 3, 5, 5)
        network(x).square().sum().backward()
        first.step()
        network = network.to(memory_format=torch.channels_last)
        again = build_optimizer(network, kind, {**words, "fused": fused}, {})
        if part == "state":
            again.load_state_dict(first.state_dict())
        again.zero_grad()
        network(x).square().sum().backward()
        if part == "gradients":
            assert network.weight.grad is not None
            network.weight.grad = network.weight.grad.contiguous()
        again.step()
        weights.append(network.weight.detach())
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-6)


@pytest.mark.seed("S4-22")
@pytest.mark.parametrize(("words", "waits"), [({}, False), ({"fused": False}, True)])
@pytest.mark.parametrize("clipped", [False, True])
def test_a_scaled_step_does_not_ask_the_device(
    words: dict[str, bool], waits: bool, clipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it overflowed is known to the kernel; reading it would wait for the device."""
    network = Matrices()
    optimizer = build_optimizer(network, torch.optim.AdamW, {"lr": 0.01, **words}, {})
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    asked: list[float] = []
    read = Tensor.item
    for step in range(2):
        optimizer.zero_grad()
        scaler.scale(network(torch.ones(2, 9)).sum()).backward()
        if clipped:
            scaler.unscale_(optimizer)
        with monkeypatch.context() as patched:
            patched.setattr(Tensor, "item", lambda one: asked.append(1) or read(one))
            scaler.step(optimizer)
            if step == 0:
                asked.clear()
        scaler.update()
    assert bool(asked) is waits
