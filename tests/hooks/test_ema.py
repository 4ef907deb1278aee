"""The moving average: its formula, buffers, trading places for evaluation, any model class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.weights import weights_for_use
from cvtrainer.hooks.accumulate import AccumulateHook
from cvtrainer.hooks.base import BaseHook
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.hooks.ema import EMAHook
from cvtrainer.trainer import Trainer
from tests.toy import ToyModel, batches, toy_trainer
from tests.trainer.test_state import assert_same, without_identity


class Watch(BaseHook):
    """Copies of the weights after each step, and inside and after each evaluation."""

    def __init__(self) -> None:
        self.weights: list[dict[str, Tensor]] = []
        self.inside: dict[str, Tensor] = {}
        self.after: dict[str, Tensor] = {}

    def after_step(self, stage: Any) -> None:
        if stage["phase"] == "train":
            self.weights.append(copy(stage["model"]))
        else:
            self.inside = copy(stage["model"])

    def after_eval(self, stage: Any) -> None:
        self.after = copy(stage["model"])


def copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.seed("S0-98", "S0-99", "S1-32", "S1-59", "S1-60")
def test_average_follows_the_formula_and_is_what_is_evaluated() -> None:
    ema, watch = EMAHook(decay=0.9), Watch()
    trainer = toy_trainer([ema, watch])
    expected = copy(trainer.model)
    trainer.train(2)

    for weights in watch.weights:
        for name, value in weights.items():
            if value.is_floating_point():
                expected[name] = 0.9 * expected[name] + 0.1 * value
            else:
                expected[name] = value
    averaged = ema.state_dict()["averaged_weights"]["model"]
    assert averaged.keys() == expected.keys()
    assert "adapter.running_mean" in averaged
    for name, value in averaged.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
        assert torch.equal(watch.inside[name], value), name
    for name, value in watch.weights[-1].items():
        assert torch.equal(watch.after[name], value), name
    assert not torch.equal(watch.inside["head.weight"], watch.after["head.weight"])
    assert ema.updates == 8


@pytest.mark.seed("S0-99")
def test_any_model_with_shared_weights_and_unsaved_buffers() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(6, 6)
            self.same = self.one
            self.scale = nn.Parameter(torch.tensor(1.0))
            self.register_buffer("count", torch.tensor(0))
            self.register_buffer("scratch", torch.zeros(2), persistent=False)

        def forward(self, x: Tensor) -> Tensor:
            self.count += 1
            return self.same(self.one(x))[:, :3] * self.scale

    torch.manual_seed(0)
    model = Odd()
    loader = [(torch.randn(4, 6), torch.tensor([0, 1, 2, 0]))] * 3
    trainer = Trainer(
        model,
        nn.CrossEntropyLoss(),
        torch.optim.SGD(model.parameters(), lr=0.1),
        {"train": loader, "val": loader},
        hooks=[EMAHook(decay=0.5), watch := Watch()],
    )
    trainer.train(1)
    averaged = trainer.hooks["ema"].state_dict()["averaged_weights"]["model"]
    assert averaged.keys() == model.state_dict().keys()
    assert torch.equal(watch.after["one.weight"], watch.weights[-1]["one.weight"])


@pytest.mark.parametrize("decay", [1.0, -0.1, 2])
def test_a_decay_outside_its_range_is_one_line(decay: float) -> None:
    with pytest.raises(UserError, match="decay"):
        EMAHook(decay=decay)


def test_a_buffer_that_the_network_assigns_anew_is_followed() -> None:
    class Counts(ToyModel):
        seen: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                self.seen = self.seen + 1
            return super().forward(x)

    model = Counts()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    hooks = [EMAHook(decay=0.5)]
    Trainer(model, nn.CrossEntropyLoss(), optimizer, {"train": batches(2)}, hooks=hooks).train(1)
    averaged = hooks[0].state_dict()["averaged_weights"]["model"]["seen"]
    assert float(model.seen) == 2
    assert float(averaged) == (0.5 * 0 + 0.5 * 1) * 0.5 + 0.5 * 2


class Heads(BaseHook):
    """The head's bias after each step."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def after_step(self, stage: Any) -> None:
        if stage.phase == "train":
            self.seen.append(stage.model.head.bias.detach().clone())


def averaged_head(*hooks: BaseHook, **parts: Any) -> tuple[Tensor, list[Tensor]]:
    heads = Heads()
    trainer = toy_trainer([*hooks, heads], val=False, **parts)
    start = trainer.model.head.bias.detach().clone()
    trainer.train(2)
    state = trainer.hooks["ema"].state_dict()["averaged_weights"]["model"]
    return state["head.bias"], [start, *heads.seen]


@pytest.mark.seed("S1-32", "S1-59")
def test_one_update_per_optimizer_step_also_where_several_batches_make_one() -> None:
    trainer = toy_trainer([EMAHook(decay=0.5), AccumulateHook(3)], train=batches(7), val=False)
    trainer.train(2)
    assert trainer.hooks["ema"].updates == trainer.clock.step == 6


def test_every_third_step_only() -> None:
    average, seen = averaged_head(EMAHook(decay=0.5, every=3))
    expected = 0.5 * (0.5 * seen[0] + 0.5 * seen[3]) + 0.5 * seen[6]
    torch.testing.assert_close(average, expected)


def test_it_begins_with_the_first_step_after_its_start() -> None:
    average, seen = averaged_head(EMAHook(decay=0.5, start="75%"))
    torch.testing.assert_close(average, 0.5 * seen[7] + 0.5 * seen[8])


def test_before_its_start_the_weights_are_evaluated() -> None:
    watch = Watch()
    trainer = toy_trainer([EMAHook(decay=0.5, start=1), watch])
    trainer.train(1)
    assert torch.equal(watch.inside["head.bias"], trainer.model.head.bias)
    assert trainer.state_dict()["hooks"]["ema"]["averaged_weights"] == {}


def test_a_warm_up_forgets_the_beginning_sooner() -> None:
    average, seen = averaged_head(EMAHook(decay=0.3, warmup=True))
    expected = seen[0]
    for number, value in enumerate(seen[1:], start=1):
        decay = min(0.3, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * value
    torch.testing.assert_close(average, expected)


@pytest.mark.seed("S1-57", "S0-99")
@pytest.mark.parametrize("step", [2, 5, 7])
def test_raw_and_averaged_weights_come_back_from_a_checkpoint(tmp_path: Path, step: int) -> None:
    def trainer(folder: str) -> Trainer:
        ema = EMAHook(decay=0.9, every=2, start="3st", warmup=True)
        save = CheckpointHook(save_dir=str(tmp_path / folder), save_steps=1)
        return toy_trainer([ema, save])

    whole = trainer("a")
    whole.train(2)
    state = read_checkpoint(tmp_path / "a" / f"checkpoint_step_{step}.pth")
    again = trainer("b")
    again.load_state_dict(state)
    again.train(2)
    assert_same(without_identity(whole.state_dict()), without_identity(again.state_dict()))
    if step == 7:
        averaged = state["hooks"]["ema"]["averaged_weights"]["model"]
        raw = state["networks"]["model"]
        assert averaged.keys() == raw.keys()
        assert not torch.equal(averaged["head.bias"], raw["head.bias"])
        assert torch.equal(weights_for_use(state)["head.bias"], averaged["head.bias"])


@pytest.mark.seed("S1-32")
def test_without_the_hook_a_checkpoint_knows_of_no_average() -> None:
    trainer = toy_trainer([])
    trainer.train(1)
    assert "ema" not in trainer.state_dict()["hooks"]


@pytest.mark.parametrize("wrong", [{"every": 0}, {"start": "soon"}])
def test_what_makes_no_sense_is_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        EMAHook(**wrong)
