"""The bare loop: it trains without hooks, holds no technique, and keeps phases apart."""

from __future__ import annotations

import inspect
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cvtrainer.trainer
from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks.base import BaseHook
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.meters import AccuracyMeter, LossMeter
from cvtrainer.trainer import Trainer
from tests.toy import BatchList, ToyModel, batches, toy_trainer


@pytest.mark.seed("S0-73")
def test_trains_without_hooks_on_a_plain_loader() -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 6)
    data = TensorDataset(x, (x[:, 0] > 0).long())
    model = ToyModel(dropout=0.0)
    trainer = Trainer(
        model,
        nn.CrossEntropyLoss(),
        torch.optim.Adam(model.parameters(), lr=0.05),
        {"train": DataLoader(data, batch_size=8), "val": DataLoader(data, batch_size=8)},
        meters=[LossMeter(), AccuracyMeter()],
    )
    before = trainer.evaluate()
    after = trainer.train(10)
    assert after["val/accuracy"] > max(0.9, before["val/accuracy"])
    assert after["val/loss"] < before["val/loss"]


@pytest.mark.seed("S0-73")
def test_the_trainer_holds_no_training_technique() -> None:
    words = set(re.findall(r"[a-z_]+", inspect.getsource(cvtrainer.trainer).lower()))
    techniques = {"ema", "scheduler", "autocast", "amp", "clip", "accumulate", "compile", "average"}
    assert not words & techniques
    verbs = {name for name in vars(Trainer) if not name.startswith("_")}
    assert {"train", "evaluate", "step"} <= verbs


@pytest.mark.seed("S0-108")
def test_train_and_val_meters_do_not_mix() -> None:
    trainer = toy_trainer(meters=[LossMeter(), AccuracyMeter()])
    metrics = trainer.train(1)
    alone = toy_trainer(meters=[LossMeter(), AccuracyMeter()])
    alone.model.load_state_dict(trainer.model.state_dict())
    assert alone.evaluate() == {
        name: value for name, value in metrics.items() if name.startswith("val/")
    }
    assert metrics["train/loss"] != metrics["val/loss"]


@pytest.mark.seed("S0-106")
def test_epoch_loss_is_weighted_by_samples_and_starts_anew() -> None:
    seen: list[tuple[float, int]] = []
    epochs: list[float] = []

    class Look(BaseHook):
        def after_step(self, stage: Any) -> None:
            seen.append((float(stage["loss"].double()), len(stage["outputs"]["output"])))

        def after_epoch(self, stage: Any) -> None:
            epochs.append(stage["train_metrics"]["train/loss"])

    toy_trainer([Look()], val=False, meters=[LossMeter()]).train(2)
    for epoch in (0, 1):
        part = seen[epoch * 4 : epoch * 4 + 4]
        mean = sum(loss * size for loss, size in part) / sum(size for _, size in part)
        assert epochs[epoch] == pytest.approx(mean, rel=1e-9)


@pytest.mark.seed("S0-106", "S0-108")
def test_validation_starts_anew_with_each_evaluation_and_knows_nothing_of_training() -> None:
    measured: list[float] = []
    expected: list[float] = []

    class Look(BaseHook):
        def before_eval(self, stage: Any) -> None:
            self.losses: list[float] = []

        def after_step(self, stage: Any) -> None:
            if stage["phase"] == "val":
                self.losses += [float(stage["loss"].double())] * len(stage["outputs"]["output"])

        def after_eval(self, stage: Any) -> None:
            measured.append(stage["val_metrics"]["val/loss"])
            expected.append(sum(self.losses) / len(self.losses))

    toy_trainer([Look()], meters=[LossMeter()]).train(3)
    assert measured == pytest.approx(expected, rel=1e-9)
    assert len(set(measured)) == 3


def test_evaluation_leaves_no_trace() -> None:
    trainer = toy_trainer(meters=[LossMeter()])
    trainer.model.train()
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    random_before = torch.get_rng_state()
    trainer.evaluate()
    assert all(
        torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items()
    )
    assert torch.equal(random_before, torch.get_rng_state())
    assert trainer.model.training
    assert trainer.clock.step == 0


@pytest.mark.seed("S0-28")
def test_without_val_nothing_is_evaluated() -> None:
    class Never(BaseHook):
        def before_eval(self, stage: Any) -> None:
            raise AssertionError

    metrics = toy_trainer([Never()], val=False, meters=[LossMeter()]).train(1)
    assert set(metrics) == {"train/loss"}


def test_evaluation_every_so_many_steps_and_a_limit_of_steps() -> None:
    at: list[int] = []

    class Look(BaseHook):
        def after_eval(self, stage: Any) -> None:
            at.append(stage.step)

    settings = StageSettings(eval_epochs=None, eval_steps=3, max_steps=10)
    trainer = toy_trainer([Look()], settings=settings)
    trainer.train(100)
    assert at == [3, 6, 9]
    assert trainer.clock.step == 10


def test_the_loop_does_not_start_without_data_or_with_two_hooks_of_a_name() -> None:
    with pytest.raises(UserError, match="dataloader"):
        Trainer(ToyModel(), nn.CrossEntropyLoss(), None, {}).train(1)
    with pytest.raises(UserError, match="two of them"):
        toy_trainer([LookOnce(), LookOnce()])


class LookOnce(BaseHook): ...


def test_a_failing_save_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "x.pth"
    trainer = toy_trainer()
    trainer.save(target)
    content = target.read_bytes()

    class Broken(BaseHook):
        def state_dict(self) -> dict[str, Any]:
            raise RuntimeError("no state today")

    trainer.hooks["broken"] = Broken()
    with pytest.raises(RuntimeError, match="no state today"):
        trainer.save(target)
    assert target.read_bytes() == content


def test_batches_of_other_forms_are_named() -> None:
    assert batches(1)[0].keys() == {"x", "target", "meta"}
    with pytest.raises(UserError, match="a batch is a int"):
        toy_trainer(train=[1, 2]).train(1)


class FailsAtTheEnd(BaseHook):
    def after_train(self, stage: Any) -> None:
        raise ValueError("the end")


class FailsInAStep(BaseHook):
    def after_step(self, stage: Any) -> None:
        raise KeyError("the cause")


def test_a_hook_that_fails_at_the_end_costs_nothing_that_was_trained(tmp_path: Path) -> None:
    hooks = [FailsAtTheEnd(), CheckpointHook(save_dir=str(tmp_path), save_freq=0)]
    with pytest.raises(ValueError, match="the end"):
        toy_trainer(hooks).train(1)
    assert (tmp_path / "last.pth").is_file()


def test_the_cause_is_not_hidden_by_what_fails_after_it() -> None:
    with pytest.raises(KeyError, match="the cause") as caught:
        toy_trainer([FailsAtTheEnd(), FailsInAStep()]).train(1)
    assert caught.value.__notes__ == ["after_train failed as well: ValueError('the end')"]


def test_a_loader_that_gives_less_than_it_says_ends_the_epoch() -> None:
    class Boasts(list[Any]):
        def __len__(self) -> int:
            return 9

    trainer = toy_trainer(train=Boasts(batches(4)))
    trainer.train(2)
    assert (trainer.clock.epoch, trainer.clock.step) == (2, 8)


@pytest.mark.parametrize("served", [0, 2])
def test_an_epoch_cut_by_a_stop_that_ended_the_workers_too_does_not_count(
    tmp_path: Path, served: int
) -> None:
    class Cut(BatchList):
        def epoch(self, epoch: int, *, start: int = 0) -> Any:
            yield from itertools.islice(super().epoch(epoch, start=start), served)
            trainer.stop()
            raise RunFailed("a worker was killed by SIGTERM")

    trainer = toy_trainer([CheckpointHook(str(tmp_path))], train=Cut(batches()))
    trainer.train(3)
    assert (trainer.clock.epochs_done, trainer.clock.step) == (0, served)
    assert [path.name for path in trainer.saved] == ["last.pth"]
