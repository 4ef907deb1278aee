"""The mean of weights: torch's own averaging, rates and BatchNorm update as the reference."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import SWALR, AveragedModel, update_bn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.stage import StageSettings
from cvtrainer.engine.weights import weights_for_use
from cvtrainer.hooks.base import BaseHook
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.hooks.ema import EMAHook
from cvtrainer.hooks.freeze import FreezeHook
from cvtrainer.hooks.lr_scheduler import LRSchedulerHook
from cvtrainer.hooks.swa import SWAHook
from cvtrainer.trainer import Trainer
from tests.toy import BatchList, batches, toy_trainer
from tests.trainer.test_state import assert_same, without_identity


class Seen(BaseHook):
    """Rates as used, and the weights inside the last evaluation."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.inside: dict[str, Tensor] = {}

    def after_step(self, stage: Any) -> None:
        if stage.phase == "train":
            self.rates.append(stage.trainer.optimizer.param_groups[0]["lr"])
        else:
            state = stage.model.state_dict()
            self.inside = {name: value.clone() for name, value in state.items()}


def by_hand(
    epochs: int, start: int, *, swa_lr: float, anneal: str, over: int
) -> tuple[list[float], AveragedModel, Trainer]:
    """The loop of torch's documentation over the same batches and start."""
    twin = toy_trainer(dropout=0.0)
    model, optimizer, criterion = twin.model, twin.optimizer, nn.CrossEntropyLoss()
    average = AveragedModel(model)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    way = "cos" if anneal == "cosine" else "linear"
    to_swa = None
    rates = []
    for epoch in range(1, epochs + 1):
        for batch in twin.streams["train"].epoch(epoch):
            if epoch > start and to_swa is None:
                to_swa = SWALR(optimizer, swa_lr, anneal_epochs=over, anneal_strategy=way)
            optimizer.zero_grad()
            criterion(model(batch["x"]), batch["target"]["class_id"]).backward()
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
        if epoch > start:
            average.update_parameters(model)
            to_swa.step()
        else:
            schedule.step()
    update_bn([batch["x"] for batch in twin.streams["train"].epoch(epochs)], average)
    return rates, average, twin


@pytest.mark.parametrize(
    ("anneal", "over"), [("cosine", 3), ("linear", 2), ("linear", 0), ("cosine", 10)]
)
def test_weights_rates_and_statistics_are_those_of_torch(anneal: Any, over: int) -> None:
    seen = Seen()
    hooks = [
        SWAHook(start=2, lr=0.03, anneal_epochs=over, anneal=anneal),
        LRSchedulerHook("ExponentialLR", {"gamma": 0.9}),
        seen,
    ]
    trainer = toy_trainer(hooks, dropout=0.0)
    trainer.train(6)
    rates, average, twin = by_hand(6, 2, swa_lr=0.03, anneal=anneal, over=over)

    assert seen.rates == pytest.approx(rates, abs=1e-12)
    for name, value in average.module.state_dict().items():
        torch.testing.assert_close(seen.inside[name], value, rtol=1e-5, atol=1e-6)
    for name, value in twin.model.state_dict().items():
        torch.testing.assert_close(trainer.model.state_dict()[name], value, rtol=1e-5, atol=1e-6)
    assert int(average.n_averaged) == trainer.hooks["swa"].taken == 4
    used = weights_for_use(trainer.state_dict())
    assert torch.equal(used["adapter.running_mean"], seen.inside["adapter.running_mean"])


def test_after_every_so_many_steps_from_a_share_of_the_run() -> None:
    kept: list[Tensor] = []

    class Keep(BaseHook):
        def after_step(self, stage: Any) -> None:
            if stage.phase == "train":
                kept.append(stage.model.head.weight.detach().clone())

    swa = SWAHook(start="50%", every="3st")
    toy_trainer([swa, Keep()], train=batches(10), val=False).train(2)
    expected = torch.stack([kept[step - 1] for step in (13, 16, 19)]).mean(0)
    assert swa.taken == 3
    torch.testing.assert_close(swa.averages.state()["model"]["head.weight"], expected)


def test_until_it_begins_the_weights_themselves_are_evaluated() -> None:
    seen, swa = Seen(), SWAHook(start=2)
    trainer = toy_trainer([swa, seen], train=batches(3))
    trainer.train(2)
    assert torch.equal(seen.inside["head.weight"], trainer.model.head.weight)
    assert swa.state_dict()["averaged_weights"] == {}
    assert torch.equal(
        weights_for_use(trainer.state_dict())["head.weight"], trainer.model.head.weight
    )


def test_measuring_draws_nothing_and_leaves_training_as_it_was() -> None:
    class Drawing(BatchList):
        """Draws from the global generator, as a loader of somebody else may."""

        def epoch(self, epoch: int, *, start: int = 0) -> Any:
            for batch in super().epoch(epoch, start=start):
                torch.rand(1)
                yield batch

    states = []
    for hooks in ([], [SWAHook(start=1)]):
        trainer = toy_trainer(hooks, train=Drawing(batches(5), shuffle=True))
        trainer.train(4)
        states.append(trainer.state_dict())
    for part in ("networks", "optimizers", "random"):
        assert_same(states[0][part], states[1][part])


def test_frozen_statistics_stay() -> None:
    swa, seen = SWAHook(start=0), Seen()
    trainer = toy_trainer([FreezeHook(["adapter"]), swa, seen])
    before = trainer.model.adapter.running_mean.clone()
    trainer.train(2)
    assert torch.equal(seen.inside["adapter.running_mean"], before)
    assert swa.state_dict()["measured"]


def test_frozen_statistics_stay_where_a_run_resumes_right_before_an_evaluation(
    tmp_path: Path,
) -> None:
    def trainer() -> Trainer:
        save = CheckpointHook(save_dir=str(tmp_path), save_steps=4, save_freq=0)
        return toy_trainer([FreezeHook(["adapter"]), SWAHook(start=0), save, Seen()])

    first = trainer()
    before = first.model.adapter.running_mean.clone()
    first.train(1)
    again = trainer()
    again.load_state_dict(read_checkpoint(tmp_path / "checkpoint_step_4.pth"))
    assert not again.clock.closed
    again.train(1)
    assert torch.equal(again.hooks["seen"].inside["adapter.running_mean"], before)


def averaging_trainer(folder: Path, every: int | str = 1, eval_steps: int | None = None) -> Trainer:
    hooks = [
        SWAHook(start="7st", every=every, lr=0.01, anneal_epochs=2, batches=3),
        LRSchedulerHook("cosine"),
        CheckpointHook(save_dir=str(folder), save_steps=1),
    ]
    stream = BatchList(batches(5), shuffle=True)
    settings = StageSettings(eval_epochs=None if eval_steps else 2, eval_steps=eval_steps)
    return toy_trainer(hooks, train=stream, lr=0.02, settings=settings)


@pytest.mark.parametrize("step", [3, 8, 10, 14, 15, 18])
@pytest.mark.parametrize(("every", "eval_steps"), [(1, None), ("2st", 4)])
def test_a_resumed_run_is_the_unbroken_one(
    tmp_path: Path, step: int, every: Any, eval_steps: int | None
) -> None:
    whole = averaging_trainer(tmp_path / "a", every, eval_steps)
    whole.train(4)
    again = averaging_trainer(tmp_path / "b", every, eval_steps)
    again.load_state_dict(read_checkpoint(tmp_path / "a" / f"checkpoint_step_{step}.pth"))
    again.train(4)
    assert_same(without_identity(whole.state_dict()), without_identity(again.state_dict()))
    assert whole.hooks["swa"].taken > 1
    assert whole.hooks["swa"].state_dict()["measured"]


def test_a_checkpoint_offers_no_average_whose_statistics_are_old(tmp_path: Path) -> None:
    trainer = averaging_trainer(tmp_path, every="2st", eval_steps=4)
    trainer.train(4)
    taken_only = read_checkpoint(tmp_path / "checkpoint_step_11.pth")
    assert set(taken_only["hooks"]["swa"]) >= {"unmeasured_weights"}
    assert torch.equal(
        weights_for_use(taken_only)["head.weight"], taken_only["networks"]["model"]["head.weight"]
    )
    evaluated = read_checkpoint(tmp_path / "checkpoint_step_12.pth")
    assert not torch.equal(
        weights_for_use(evaluated)["head.weight"], evaluated["networks"]["model"]["head.weight"]
    )


def test_without_evaluation_the_end_of_the_stage_measures() -> None:
    swa = SWAHook(start=1)
    trainer = toy_trainer([swa], dropout=0.0, val=False)
    trainer.train(3)
    bare = deepcopy(trainer.model)
    bare.load_state_dict(swa.state_dict()["averaged_weights"]["model"])
    before = {name: value.clone() for name, value in bare.state_dict().items()}
    update_bn([batch["x"] for batch in trainer.streams["train"].epoch(3)], bare)
    for name, value in bare.state_dict().items():
        torch.testing.assert_close(before[name], value)


def test_two_averages_are_refused() -> None:
    with pytest.raises(UserError, match="ema and swa would both"):
        toy_trainer([EMAHook(), SWAHook()]).train(1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"anneal": "cos"},
        {"anneal_epochs": -1},
        {"batches": 0},
        {"lr": -0.1},
        {"every": "50%"},
        {"every": 0},
        {"every": 1.5},
    ],
)
def test_what_makes_no_sense_is_one_line(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"hooks\.swa"):
        SWAHook(**wrong)
