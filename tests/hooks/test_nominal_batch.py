"""A nominal batch size: so many batches per step, weight decay by the share, both resumed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.hooks import AccumulateHook, NominalBatchHook
from cvtrainer.trainer import Trainer
from tests.toy import BatchList, ToyModel, batches


def trainer(*hooks: Any, size: int, decay: float = 0.0005) -> Trainer:
    model = ToyModel(dropout=0.0)
    groups = [
        {"params": model.backbone.parameters()},
        {"params": model.head.parameters(), "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1, weight_decay=decay)
    data = {"train": BatchList(batches(5, size))}
    return Trainer(model, torch.nn.CrossEntropyLoss(), optimizer, data, hooks=hooks)


def decays(made: Trainer) -> list[float]:
    return [group["weight_decay"] for group in made.optimizer.param_groups]


@pytest.mark.seed("S4-31", "S4-49")
@pytest.mark.parametrize(
    ("size", "together", "share"), [(32, 2, 1.0), (24, 3, 72 / 64), (40, 2, 80 / 64), (128, 1, 2.0)]
)
def test_batches_per_step_and_decay(size: int, together: int, share: float) -> None:
    made = trainer(NominalBatchHook(), size=size)
    assert made.plan.accumulate == together
    made.train(1)
    assert made.clock.step == -(-5 // together)
    assert decays(made) == pytest.approx([0.0005 * share, 0.0], rel=1e-15)


def test_decay_may_stay_as_written() -> None:
    made = trainer(NominalBatchHook(size=20, scale_weight_decay=False), size=16)
    made.train(1)
    assert decays(made) == [0.0005, 0.0]


def test_decay_is_scaled_once_over_a_resume() -> None:
    first = trainer(NominalBatchHook(), size=24)
    first.train(1)
    again = trainer(NominalBatchHook(), size=24)
    again.load_state_dict(first.state_dict())
    first.train(2)
    again.train(2)
    assert decays(again) == decays(first) == pytest.approx([0.0005 * 72 / 64, 0.0])
    for one, other in zip(first.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("swap", [False, True])
def test_two_hooks_cannot_both_say_it(swap: bool) -> None:
    hooks = [NominalBatchHook(), AccumulateHook(steps=3)]
    with pytest.raises(UserError, match="another hook says"):
        trainer(*(hooks[::-1] if swap else hooks), size=32).train(1)


def test_a_size_below_one_is_no_size() -> None:
    with pytest.raises(UserError, match="size is 0"):
        NominalBatchHook(size=0)
