"""Early stopping: when it ends a run, what it says, and that a resumed run decides alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import EarlyStoppingHook
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.meters import AccuracyMeter, LossMeter
from cvtrainer.trainer import Trainer
from tests.hooks.test_checkpoint_hook import Script
from tests.toy import BatchList, batches, toy_trainer
from tests.trainer.test_state import assert_same, without_identity

NAN = float("nan")


def epochs_run(hook: EarlyStoppingHook, values: list[float], key: str = "val/accuracy") -> int:
    meters = [LossMeter(), AccuracyMeter()]
    trainer = toy_trainer([Script(key, values), hook], meters=meters)
    trainer.train(len(values))
    return trainer.clock.epochs_done


@pytest.mark.seed("S4-33")
def test_patience_two_with_a_constant_value_stops_two_epochs_after_the_best() -> None:
    assert epochs_run(EarlyStoppingHook("val_accuracy", patience=2), [0.5] * 9) == 3


@pytest.mark.seed("S4-33")
def test_patience_zero_never_stops() -> None:
    assert epochs_run(EarlyStoppingHook("val_accuracy", patience=0), [0.5] * 9) == 9


@pytest.mark.parametrize(
    ("metric", "mode", "min_delta", "values", "ends"),
    [
        ("val_accuracy", "auto", 0.0, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 6),
        ("val_loss", "auto", 0.0, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 3),
        ("val_loss", "auto", 0.0, [0.6, 0.5, 0.4, 0.3, 0.2, 0.1], 6),
        ("val_loss", "max", 0.0, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 6),
        ("accuracy", "min", 0.0, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 3),
        ("val_accuracy", "auto", 0.0, [0.5, 0.4, 0.6, 0.5, 0.5, 0.9], 5),
        ("val_accuracy", "auto", 0.05, [0.5, 0.54, 0.56, 0.58, 0.6, 0.9], 5),
        ("val_loss", "auto", 0.05, [0.5, 0.46, 0.44, 0.42, 0.40, 0.1], 5),
        ("val_accuracy", "auto", 0.0, [NAN, NAN, 0.5, 0.6], 2),
        ("val_accuracy", "auto", 0.0, [0.5, NAN, 0.6, NAN, NAN, 0.7], 5),
    ],
)
def test_what_counts_as_better(
    metric: str, mode: Any, min_delta: float, values: list[float], ends: int
) -> None:
    hook = EarlyStoppingHook(metric, patience=2, min_delta=min_delta, mode=mode)
    key = "val/loss" if "loss" in metric else "val/accuracy"
    assert epochs_run(hook, values, key) == ends


def test_it_says_once_why_it_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    hook = EarlyStoppingHook("val_accuracy", patience=2, min_delta=0.01)
    epochs_run(hook, [0.25, 0.5, 0.5, 0.505, 0.9])
    assert capsys.readouterr().err == (
        "stopped early in epoch 4: val_accuracy has not become better by more than 0.01 "
        "in 2 evaluations; the best is 0.5 of epoch 2\n"
    )


def test_evaluations_count_not_epochs() -> None:
    """Three evaluations an epoch: the run ends in the middle of its first."""
    trainer = toy_trainer(
        [Script("val/accuracy", [0.5]), EarlyStoppingHook("val_accuracy", patience=2)],
        meters=[AccuracyMeter()],
        train=batches(9),
        settings=StageSettings(eval_epochs=None, eval_steps=2),
    )
    trainer.train(1)
    assert trainer.clock.step == 6


def test_an_evaluation_outside_of_training_is_not_counted() -> None:
    hook = EarlyStoppingHook("val_accuracy", patience=1)
    trainer = toy_trainer([hook], meters=[AccuracyMeter()])
    trainer.evaluate()
    assert hook.state_dict() == {"best": None, "best_epoch": None, "waited": 0}


VALUES = [0.5, 0.7, 0.6, 0.6, 0.6, 0.9, 0.9]


def stopping_trainer(folder: Path, *, patience: int = 3) -> Trainer:
    hooks = [
        Script("val/accuracy", VALUES),
        EarlyStoppingHook("val_accuracy", patience=patience),
        CheckpointHook(save_dir=str(folder), save_steps=3),
    ]
    train = BatchList(batches(7), shuffle=True)
    return toy_trainer(hooks, train=train, meters=[AccuracyMeter()], lr=0.02)


@pytest.mark.parametrize("name", ["step_3", "epoch_2", "step_24", "epoch_4", "step_33", "epoch_5"])
def test_a_resumed_run_stops_where_the_unbroken_one_does(tmp_path: Path, name: str) -> None:
    """Also one that was killed after the decision: it does not train on."""
    whole, again = stopping_trainer(tmp_path / "a"), stopping_trainer(tmp_path / "b")
    whole.train(7)
    assert whole.clock.epochs_done == 5
    again.load_state_dict(read_checkpoint(tmp_path / "a" / f"checkpoint_{name}.pth"))
    again.train(7)
    assert_same(without_identity(whole.state_dict()), without_identity(again.state_dict()))


def test_more_patience_lets_a_stopped_run_go_on(tmp_path: Path) -> None:
    stopping_trainer(tmp_path / "a").train(7)
    again = stopping_trainer(tmp_path / "b", patience=5)
    again.load_state_dict(read_checkpoint(tmp_path / "a" / "checkpoint_epoch_5.pth"))
    again.train(7)
    assert again.clock.epochs_done == 7


def test_an_unknown_metric_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"early_stopping\.metric_name: .* val/accuracy"):
        epochs_run(EarlyStoppingHook("val_acuracy", patience=1), [0.5])


def test_without_a_split_to_evaluate_it_refuses() -> None:
    with pytest.raises(UserError, match=r"no dataloader\.val"):
        toy_trainer([EarlyStoppingHook("val_loss", patience=1)], val=False).train(1)


@pytest.mark.parametrize(
    "arguments",
    [{"patience": -1}, {"patience": 1, "min_delta": -0.1}, {"patience": 1, "mode": "up"}],
)
def test_what_makes_no_sense_is_one_line(arguments: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="early_stopping"):
        EarlyStoppingHook("val_loss", **arguments)
