"""Everything that moves is in the state, and a resumed run is the unbroken one, bit for bit."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.points import compile_table
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks.base import BaseHook
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.hooks.ema import EMAHook
from cvtrainer.hooks.logger import LoggerHook
from cvtrainer.hooks.lr_scheduler import LRSchedulerHook
from cvtrainer.logger import FileLogger
from cvtrainer.meters import AccuracyMeter, LossMeter
from cvtrainer.trainer import Trainer
from tests.toy import BatchList, batches, new_run, toy_trainer


class Curve(BaseHook):
    """Every loss, learning rate and metric as the run saw them."""

    def __init__(self) -> None:
        self.losses: list[tuple[int, float]] = []
        self.rates: list[tuple[int, float]] = []
        self.metrics: list[tuple[int, dict[str, float]]] = []

    def after_step(self, stage: Any) -> None:
        if stage["phase"] == "train":
            self.losses.append((stage.step, float(stage["loss"])))
            self.rates.append((stage.step, stage.trainer.optimizer.param_groups[0]["lr"]))

    def after_eval(self, stage: Any) -> None:
        self.metrics.append((stage.epoch, dict(stage["metrics"])))


def full_trainer(folder: Path, **hook: Any) -> Trainer:
    hooks = [
        Curve(),
        EMAHook(decay=0.9),
        LRSchedulerHook("CosineAnnealingLR", {"T_max": 4}),
        CheckpointHook(save_dir=str(folder), save_best=True, **hook),
    ]
    return toy_trainer(
        hooks,
        meters=[LossMeter(), AccuracyMeter()],
        train=BatchList(batches(7), shuffle=True),
        run=new_run(folder.parent),
        lr=0.02,
    )


def assert_same(one: Any, other: Any, path: str = "state") -> None:
    """Equal to the last bit, whatever it is made of."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), path
        for place, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{path}[{place}]")
    else:
        assert one == other, path


def without_identity(state: dict[str, Any]) -> dict[str, Any]:
    """The state less what names the run, and less which files it kept."""
    return {key: value for key, value in state.items() if not key.startswith("run_")}


@pytest.mark.seed("S0-07", "S0-74", "S0-99")
@pytest.mark.parametrize("step", [1, 5, 7, 9, 14, 20])
def test_resume_from_any_step_equals_the_unbroken_run(tmp_path: Path, step: int) -> None:
    whole = full_trainer(tmp_path / "whole", save_steps=1)
    whole.train(4)
    again = full_trainer(tmp_path / "again", save_steps=1)
    again.load_state_dict(read_checkpoint(tmp_path / "whole" / f"checkpoint_step_{step}.pth"))
    again.train(4)

    assert_same(without_identity(whole.state_dict()), without_identity(again.state_dict()))
    curve, resumed = whole.hooks["curve"], again.hooks["curve"]
    assert resumed.losses == [point for point in curve.losses if point[0] > step]
    assert resumed.rates == [point for point in curve.rates if point[0] > step]
    assert resumed.metrics == curve.metrics[-len(resumed.metrics) :]
    served = [place for epoch, place in again.streams["train"].served if epoch == 1 + step // 7]
    assert len(served) == 7 - step % 7


@pytest.mark.seed("S0-07")
def test_resume_after_two_epochs_begins_with_the_third(tmp_path: Path) -> None:
    short = full_trainer(tmp_path / "short", save_freq=2)
    short.train(2)
    seen = []

    class Look(BaseHook):
        def before_epoch(self, stage: Any) -> None:
            seen.append(stage.epoch)

    again = full_trainer(tmp_path / "again")
    again.hooks["look"] = Look()
    again.table = compile_table(again.hooks.values())
    again.load_state_dict(read_checkpoint(tmp_path / "short" / "checkpoint_epoch_2.pth"))
    again.train(4)
    assert seen == [3, 4]


@pytest.mark.seed("S0-74")
def test_state_names_everything_that_moves(tmp_path: Path) -> None:
    trainer = full_trainer(tmp_path / "one")
    trainer.train(1)
    state = trainer.state_dict()
    assert state["clock"]["epoch"] == 1
    assert state["clock"]["step"] == 7
    assert set(state["networks"]["model"]) == set(trainer.model.state_dict())
    assert state["optimizers"]["main"]["state"]
    assert state["hooks"]["checkpoint"]["best"] is not None
    assert state["hooks"]["ema"]["updates"] == 7
    assert state["meters"]["train"]
    assert state["random"]
    assert state["stage"] == "train"


def test_a_checkpoint_of_another_shape_is_one_line(tmp_path: Path) -> None:
    trainer = full_trainer(tmp_path / "one")
    trainer.train(1)
    state = trainer.state_dict()
    state["networks"]["model"]["head.weight"] = torch.zeros(9, 8)
    del state["networks"]["model"]["head.bias"]
    with pytest.raises(UserError) as caught:
        full_trainer(tmp_path / "two").load_state_dict(state, source="x.pth")
    text = str(caught.value)
    assert "\n" not in text
    assert "x.pth" in text
    assert "head.weight is (9, 8), the model has (3, 8)" in text
    assert "missing: head.bias" in text


class StopAt(BaseHook):
    """Ends the stage after that step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def after_step(self, stage: Any) -> None:
        if stage.step == self.at:
            stage.trainer.stop()


@pytest.mark.parametrize("meters", [[LossMeter, AccuracyMeter], [AccuracyMeter], []])
def test_other_meters_than_at_the_checkpoint_begin_anew_and_say_so(
    meters: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    begun = toy_trainer([StopAt(2)], meters=[LossMeter()])
    begun.train(1)
    again = toy_trainer(meters=[kind() for kind in meters])
    again.load_state_dict(begun.state_dict())
    told = capsys.readouterr().err
    assert "the meters changed (loss; now " in told
    assert "in the middle of epoch 1" in told
    again.train(1)
    assert again.clock.step == 4


def test_other_arguments_of_a_meter_are_named_when_resuming_in_an_epoch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = toy_trainer([StopAt(2)], meters=[LossMeter(), AccuracyMeter()])
    begun.train(1)
    again = toy_trainer(meters=[LossMeter(), AccuracyMeter(topk=(1, 2))])
    again.load_state_dict(begun.state_dict())
    told = capsys.readouterr().err
    assert "the meter accuracy changed (topk was (1,), now (1, 2)) in the middle of epoch 1" in told
    assert "train/accuracy_top2" in again.train(1)


class Inside(LossMeter):
    """With something of its own that no argument makes."""

    def __init__(self, held: int) -> None:
        super().__init__()
        self._held = held


def test_what_a_meter_holds_for_itself_is_no_argument(capsys: pytest.CaptureFixture[str]) -> None:
    begun = toy_trainer([StopAt(2)], meters=[Inside(0)])
    begun.train(1)
    state = begun.state_dict()
    older = copy.deepcopy(state)
    [counted] = older["meters"]["train"]
    arguments = counted["arguments"]["inside"]
    assert arguments == {"type": "Inside"}
    arguments["_before"] = "0"  # as checkpoints had them
    for one in (state, older):
        again = toy_trainer(meters=[Inside(1)])
        again.load_state_dict(one)
        assert "changed" not in capsys.readouterr().err


class Odd(LossMeter):
    """Takes back nothing that another class has saved."""

    def load_state_dict(self, state: Any) -> None:
        raise KeyError("mine")


def test_a_meter_that_does_not_take_its_state_back_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun = toy_trainer([StopAt(2)], meters=[Odd()])
    begun.train(1)
    again = toy_trainer(meters=[Odd()])
    again.load_state_dict(begun.state_dict())
    assert "the meter odd does not take its state back ('mine')" in capsys.readouterr().err
    assert "train/loss" in again.train(1)


def test_metrics_of_the_last_evaluation_are_there_after_a_resume() -> None:
    begun = toy_trainer(meters=[LossMeter()])
    begun.train(1)
    again = toy_trainer(meters=[LossMeter()])
    again.load_state_dict(begun.state_dict())
    assert again.view["val_metrics"] == begun.view["val_metrics"]


def test_an_optimizer_with_other_groups_is_one_line() -> None:
    begun, again = toy_trainer(), toy_trainer()
    again.optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)]})
    with pytest.raises(UserError, match=r"x\.pth: the optimizer's state does not fit"):
        again.load_state_dict(begun.state_dict(), source="x.pth")


def test_an_epoch_that_was_saved_before_its_end_ends_after_the_resume(tmp_path: Path) -> None:
    def trainer() -> Trainer:
        writers = (FileLogger(log_dir=str(tmp_path)),)
        hooks = [CheckpointHook(save_dir=str(tmp_path), save_steps=4, save_freq=0), LoggerHook()]
        settings = StageSettings(writers=writers)
        return toy_trainer(hooks, meters=[AccuracyMeter()], settings=settings)

    whole, again = trainer(), trainer()
    metrics = whole.train(1)
    state = read_checkpoint(tmp_path / "checkpoint_step_4.pth")
    assert not state["clock"]["closed"]
    again.load_state_dict(state)
    assert again.train(1) == metrics


def test_training_on_in_the_same_process_equals_training_at_once(tmp_path: Path) -> None:
    whole = full_trainer(tmp_path / "whole")
    whole.train(3)
    state = without_identity(whole.state_dict())
    parts = full_trainer(tmp_path / "parts")
    parts.train(1)
    parts.train(3)
    assert_same(state, without_identity(parts.state_dict()))
