"""The guard: it names the step, waits only where a line is due, and keeps checkpoints whole."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.engine.capsule import read_capsule
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import (
    AccumulateHook,
    AMPHook,
    ClipGradientsHook,
    LoggerHook,
    NanGuardHook,
)
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.trainer import Trainer
from tests.hooks.test_logger_hook import trained
from tests.toy import BatchList, batches, new_run, toy_trainer
from tests.trainer.test_state import assert_same, without_identity


class Spoil(BaseHook):
    """Puts a value that is no number into the loss, a gradient or a weight at one step."""

    rank = Rank.UPDATE

    def __init__(self, place: str, at: int, value: float = float("nan")) -> None:
        self.place, self.at, self.value = place, at, value

    def before_backward(self, stage: Any) -> None:
        if self.place == "loss" and stage.step + 1 == self.at:
            stage["loss"] = stage["loss"] * self.value

    def before_optimize(self, stage: Any) -> None:
        if self.place == "gradient" and stage.step + 1 == self.at:
            stage.model.head.bias.grad[0] = self.value

    def after_optimize(self, stage: Any) -> None:
        if self.place == "weight" and stage.step + 1 == self.at:
            with torch.no_grad():
                stage.model.head.bias[0] = self.value


def failure(*hooks: BaseHook, count: int = 25, epochs: int = 2) -> tuple[str, Trainer]:
    trainer = toy_trainer(hooks, train=batches(count), val=False)
    with pytest.raises(RunFailed) as caught:
        trainer.train(epochs)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    return str(caught.value), trainer


@pytest.mark.parametrize(("value", "word"), [("nan", "NaN"), ("inf", "infinite")])
def test_the_step_is_named_when_the_next_line_is_due(value: str, word: str) -> None:
    text, trainer = failure(NanGuardHook(), Spoil("loss", 13, float(value)), LoggerHook(10))
    assert f"the loss became {word} at step 13 in epoch 1 (looked at steps 11 to 20)" in text
    assert "no checkpoint was saved yet" in text
    assert trainer.clock.step == 20


def test_a_log_frequency_of_its_own_is_followed() -> None:
    text, _ = failure(NanGuardHook(), Spoil("loss", 13), LoggerHook(train_log_freq=4))
    assert "at step 13 in epoch 1 (looked at steps 13 to 16)" in text


def test_without_log_lines_the_end_of_the_epoch_is_soon_enough() -> None:
    text, trainer = failure(NanGuardHook(), Spoil("loss", 2), LoggerHook(train_log_freq=0))
    assert "at step 2 in epoch 1 (looked at steps 1 to 25)" in text
    assert trainer.clock.step == 25


def test_a_gradient_is_found_in_the_step_that_made_it() -> None:
    clip = ClipGradientsHook(max_norm=1.0)
    text, _ = failure(clip, NanGuardHook(["gradients"]), Spoil("gradient", 13, float("inf")))
    assert "a gradient became infinite at step 13" in text
    text, _ = failure(NanGuardHook("loss"), Spoil("gradient", 13))
    assert "the loss became NaN at step 14" in text


def test_the_last_checkpoint_is_named_and_holds_numbers(tmp_path: Path) -> None:
    """The weight is spoilt right before a save, where the loss does not show it yet."""
    save = CheckpointHook(save_dir=str(tmp_path), save_steps=3, save_freq=0)
    text, _ = failure(NanGuardHook(), Spoil("weight", 12), save)
    path = tmp_path / "checkpoint_step_9.pth"
    assert "a weight became NaN at step 12 in epoch 1; " in text
    assert f"the last checkpoint is {path} of step 9" in text
    assert sorted(one.name for one in tmp_path.glob("*.pth")) == [
        f"checkpoint_step_{step}.pth" for step in (3, 6, 9)
    ]
    again = toy_trainer([CheckpointHook(save_dir=str(tmp_path))], train=batches(25), val=False)
    again.load_state_dict(read_checkpoint(path))
    again.train(1)
    assert all(bool(value.isfinite().all()) for value in again.model.state_dict().values())


def test_a_bad_loss_keeps_the_checkpoint_from_being_written(tmp_path: Path) -> None:
    save = CheckpointHook(save_dir=str(tmp_path), save_steps=7, save_freq=0)
    text, _ = failure(NanGuardHook(), Spoil("loss", 12), save, LoggerHook(train_log_freq=0))
    assert "at step 12 in epoch 1 (looked at steps 8 to 14)" in text
    assert [one.name for one in tmp_path.glob("*.pth")] == ["checkpoint_step_7.pth"]


def test_after_a_resume_the_file_it_came_from_is_the_way_back(tmp_path: Path) -> None:
    begun = toy_trainer([CheckpointHook(save_dir=str(tmp_path))], train=batches(5), val=False)
    begun.train(1)
    again = toy_trainer([NanGuardHook(), Spoil("loss", 7)], train=batches(5), val=False)
    again.load_state_dict(read_checkpoint(tmp_path / "checkpoint_epoch_1.pth"))
    with pytest.raises(RunFailed, match="newer than the one of step 5 it resumed from") as caught:
        again.train(2)
    assert re.search(r"at step 7 in epoch 2 \(looked at steps 6 to 10\)", str(caught.value))


def test_a_long_epoch_without_lines_does_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvtrainer.hooks.nan_guard.MOST_STEPS", 6)
    text, _ = failure(NanGuardHook(), Spoil("loss", 2), LoggerHook(train_log_freq=0))
    assert "(looked at steps 1 to 6)" in text


def test_nothing_is_read_between_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps 10, 20 and the end of the epoch of 25."""
    reads = []
    looked = NanGuardHook._refuse

    def count(self: NanGuardHook, stage: Any, values: Any, *, since: int) -> None:
        reads.append((since, stage.step))
        looked(self, stage, values, since=since)

    monkeypatch.setattr(NanGuardHook, "_refuse", count)
    forbidden: list[str] = []
    for name in ("__float__", "__bool__", "item", "tolist"):
        before = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor,
            name,
            lambda self, before=before, name=name: forbidden.append(name) or before(self),
        )
    hook = NanGuardHook(["loss", "gradients"])
    trained(hook, LoggerHook(train_log_freq=10), val=False, meters=[])
    guarded, forbidden[:] = list(forbidden), []
    trained(LoggerHook(train_log_freq=10), val=False, meters=[])
    assert reads == [(1, 10), (11, 20), (21, 25)]
    first = 1  # without a guard the loss of the first batch is looked at
    assert len(guarded) - (len(forbidden) - first) == 3


def guarded_trainer(folder: Path, *hooks: BaseHook) -> Trainer:
    save = CheckpointHook(save_dir=str(folder), save_steps=1)
    return toy_trainer([*hooks, save], train=BatchList(batches(7), shuffle=True), lr=0.02)


@pytest.mark.parametrize("step", [3, 7, 9])
def test_a_resumed_run_is_the_unbroken_one_and_the_unguarded_one(tmp_path: Path, step: int) -> None:
    def guard() -> NanGuardHook:
        return NanGuardHook(["loss", "gradients"])

    whole = guarded_trainer(tmp_path / "a", guard())
    whole.train(2)
    again = guarded_trainer(tmp_path / "b", guard())
    again.load_state_dict(read_checkpoint(tmp_path / "a" / f"checkpoint_step_{step}.pth"))
    again.train(2)
    assert_same(without_identity(whole.state_dict()), without_identity(again.state_dict()))
    without = guarded_trainer(tmp_path / "c")
    without.train(2)
    for part in ("networks", "optimizers", "random"):
        assert_same(whole.state_dict()[part], without.state_dict()[part])


@pytest.mark.parametrize("check", [[], ["los"], "weights"])
def test_what_makes_no_sense_is_one_line(check: Any) -> None:
    with pytest.raises(UserError, match="nan_guard"):
        NanGuardHook(check)


def test_where_several_batches_make_a_step_it_is_numbered_by_steps() -> None:
    """Batches 7, 8 and 9 make step 3; the loss of batch 8 is spoilt."""

    class SpoilBatch(BaseHook):
        def before_backward(self, stage: Any) -> None:
            if stage.clock.batch + 1 == 8:
                stage["loss"] = stage["loss"] * float("nan")

    hooks = (NanGuardHook(), SpoilBatch(), AccumulateHook(3), LoggerHook(train_log_freq=4))
    text, trainer = failure(*hooks, count=30)
    assert "the loss became NaN at step 3 in epoch 1 (looked at steps 1 to 4)" in text
    assert (trainer.clock.step, trainer.clock.batches) == (4, 12)


def test_a_capsule_says_where(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    save = CheckpointHook(save_steps=4, save_freq=0)
    hooks = [NanGuardHook(), Spoil("loss", 13), save]
    settings = StageSettings(checkpoints=run.checkpoints)
    trainer = toy_trainer(hooks, train=batches(25), val=False, run=run, settings=settings)
    with pytest.raises(RunFailed, match=r"Run `cvtrainer replay .*` to see where it begins"):
        trainer.train(1)
    path, capsule = read_capsule(run.path)
    assert path == run.path / "crash" / "train_step_13.json"
    assert (capsule.step, capsule.batch, capsule.epoch) == (13, 13, 1)
    assert capsule.what == "the loss became NaN"
    assert capsule.checkpoint == str(run.checkpoints / "checkpoint_step_12.pth")
    assert capsule.run_id == run.run_id


def test_gradients_that_a_scaler_will_leave_out_are_not_an_error() -> None:
    amp = AMPHook("float16", init_scale=2.0**100)
    trainer = toy_trainer([amp, NanGuardHook("gradients")], train=batches(3), val=False)
    trainer.train(1)
    assert trainer.clock.step == 3
