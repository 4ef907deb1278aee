"""The moving average: its formula, buffers, trading places for evaluation, any model class."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.hooks.base import BaseHook
from cvtrainer.hooks.ema import EMAHook
from cvtrainer.trainer import Trainer
from tests.toy import ToyModel, batches, toy_trainer


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


@pytest.mark.seed("S0-98", "S0-99")
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
