"""Which files the checkpoint hook asks for, what is in them, and which one is the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.hooks.checkpoint import CheckpointHook
from cvtrainer.meters import AccuracyMeter, LossMeter
from tests.toy import new_run, toy_trainer


class Script(BaseHook):
    """Puts given values in place of the measured ones."""

    rank = Rank.EVALUATE

    def __init__(self, name: str, values: list[float]) -> None:
        self.key = name
        self.values = values

    def after_eval(self, stage: Any) -> None:
        stage["metrics"] = {**stage["metrics"], self.key: self.values[stage.epoch - 1]}


def train(folder: Path, hook: CheckpointHook, epochs: int, *more: BaseHook) -> list[str]:
    trainer = toy_trainer([*more, hook], meters=[LossMeter(), AccuracyMeter()], run=new_run(folder))
    trainer.train(epochs)
    return sorted(path.name for path in Path(hook.save_dir or "").rglob("*.pth"))


@pytest.mark.seed("S0-100", "S0-101")
def test_every_tenth_epoch_and_the_last(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "checkpoints"
    names = train(tmp_path, CheckpointHook(save_dir=str(folder), save_freq=10), 21)
    assert names == ["checkpoint_epoch_10.pth", "checkpoint_epoch_20.pth", "last.pth"]
    assert read_checkpoint(folder / "checkpoint_epoch_20.pth")["clock"]["epoch"] == 20
    assert read_checkpoint(folder / "last.pth")["clock"]["epoch"] == 21


@pytest.mark.seed("S0-100")
def test_the_folder_is_made_below_the_working_directory_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Look(BaseHook):
        def before_epoch(self, stage: Any) -> None:
            assert (tmp_path / "deep" / "kept").is_dir()

    monkeypatch.chdir(tmp_path)
    hook = CheckpointHook(save_dir="deep/kept")
    assert train(tmp_path, hook, 1, Look()) == ["checkpoint_epoch_1.pth"]


@pytest.mark.seed("S0-17")
def test_the_stage_name_is_in_the_file(tmp_path: Path) -> None:
    train(tmp_path, CheckpointHook(save_dir=str(tmp_path)), 1)
    assert read_checkpoint(tmp_path / "checkpoint_epoch_1.pth")["stage"] == "train"


@pytest.mark.seed("S0-102", "S0-103", "S0-104")
@pytest.mark.parametrize(
    ("metric", "mode", "values", "best"),
    [
        ("val_accuracy", "max", [0.2, 0.9, 0.5], 2),
        ("val_accuracy", None, [0.2, 0.9, 0.5], 2),
        ("accuracy", "max", [0.2, 0.3, 0.5], 3),
        ("val_loss", "min", [2.0, 0.3, 0.5], 2),
        ("val_loss", "min", [0.3, 0.3, 0.5], 1),
        ("val_accuracy", "min", [0.5, 0.2, 0.9], 2),
        ("val_loss", None, [2.0, 0.3, 0.5], 2),
        ("val/loss", "max", [2.0, 0.3, 0.5], 1),
        ("val_accuracy", "max", [0.5, 0.5, float("nan")], 1),
    ],
)
def test_best_follows_metric_and_mode(
    tmp_path: Path, metric: str, mode: Any, values: list[float], best: int
) -> None:
    key = "val/loss" if "loss" in metric else "val/accuracy"
    hook = CheckpointHook(
        save_dir=str(tmp_path / "c"), save_freq=1, save_best=True, metric_name=metric, mode=mode
    )
    names = train(tmp_path, hook, 3, Script(key, values))
    assert "best_model.pth" in names
    state = read_checkpoint(tmp_path / "c" / "best_model.pth")
    same_epoch = read_checkpoint(tmp_path / "c" / f"checkpoint_epoch_{best}.pth")
    assert state["clock"]["epoch"] == best
    assert state["hooks"]["checkpoint"]["best"] == values[best - 1]
    assert state["networks"]["model"]["head.weight"].equal(
        same_epoch["networks"]["model"]["head.weight"]
    )


@pytest.mark.seed("S0-07", "S0-102")
def test_a_resumed_run_knows_the_best_so_far(tmp_path: Path) -> None:
    def trainer() -> Any:
        folder = str(tmp_path / "c")
        hook = CheckpointHook(save_dir=folder, save_best=True, metric_name="val_accuracy")
        script = Script("val/accuracy", [0.9, 0.2, 0.3])
        return toy_trainer([script, hook], meters=[AccuracyMeter()], run=run)

    run = new_run(tmp_path)
    trainer().train(1)
    again = trainer()
    again.load_state_dict(read_checkpoint(tmp_path / "c" / "checkpoint_epoch_1.pth"))
    again.train(3)
    assert read_checkpoint(tmp_path / "c" / "best_model.pth")["clock"]["epoch"] == 1


@pytest.mark.seed("S0-103")
def test_an_unknown_metric_lists_the_known_ones(tmp_path: Path) -> None:
    hook = CheckpointHook(save_dir=str(tmp_path), save_best=True, metric_name="val_acuracy")
    with pytest.raises(UserError) as caught:
        train(tmp_path, hook, 1)
    for name in ("val_acuracy", "val/accuracy", "val/loss"):
        assert name in str(caught.value)


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    hook = CheckpointHook(save_dir=str(tmp_path / "c"), save_steps=2, save_freq=0, max_keep=2)
    names = train(tmp_path, hook, 2)
    assert names == ["checkpoint_step_6.pth", "checkpoint_step_8.pth", "last.pth"]
    assert not read_checkpoint(tmp_path / "c" / "checkpoint_step_8.pth")["clock"]["closed"]
    assert read_checkpoint(tmp_path / "c" / "last.pth")["clock"]["closed"]


def test_another_runs_files_are_moved_aside_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "c"
    train(tmp_path, CheckpointHook(save_dir=str(folder)), 2)
    first = (folder / "checkpoint_epoch_2.pth").read_bytes()
    capsys.readouterr()
    train(tmp_path, CheckpointHook(save_dir=str(folder)), 1)
    assert "moved 2 checkpoint(s)" in capsys.readouterr().err
    kept = list(folder.glob("run_*/checkpoint_epoch_2.pth"))
    assert [path.read_bytes() for path in kept] == [first]
    assert [path.name for path in folder.glob("*.pth")] == ["checkpoint_epoch_1.pth"]


def test_without_a_usual_metric_training_goes_on_and_it_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = CheckpointHook(save_dir=str(tmp_path), save_best=True)
    toy_trainer([hook], run=new_run(tmp_path)).train(3)
    assert capsys.readouterr().err.count("best_model.pth is not kept") == 1
    assert not (tmp_path / "best_model.pth").exists()


def test_the_users_own_weights_in_the_folder_stay(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(1)}, tmp_path / "resnet.pth")
    train(tmp_path, CheckpointHook(save_dir=str(tmp_path)), 1)
    assert (tmp_path / "resnet.pth").is_file()
