"""Stages of one run: what is handed over and told of it, and resuming within and between stages."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint
from tests.project import cvtrainer as command
from tests.project import enter_project
from tests.trainer.test_state import assert_same, without_identity

SPY = '''
import random

from cvtrainer.hooks.base import BaseHook

SEEN = {}


class SpyHook(BaseHook):
    """Keeps the first weights and what the stage draws, and fails where it is told to."""

    def before_train(self, stage):
        SEEN.setdefault("trained", []).append(stage.name)
        weights = stage.model.state_dict()
        SEEN.setdefault("start", {})[stage.name] = {k: v.clone() for k, v in weights.items()}
        SEEN.setdefault("moments", {})[stage.name] = len(stage.trainer.optimizer.state)
        SEEN.setdefault("step", {})[stage.name] = stage.step
        if SEEN.get("fails") == stage.name:
            raise RuntimeError("killed")

    def after_step(self, stage):
        if stage.phase == "train":
            SEEN.setdefault("draws", []).append((stage.name, stage.step, random.random()))
        if SEEN.get("fails") == (stage.name, stage.step):
            raise RuntimeError("killed")

    def after_epoch(self, stage):
        if SEEN.get("stops") == (stage.name, stage.epoch):
            stage.trainer.stop()
'''
CONFIG = "apps/toy/train.yaml"
HOOKS = ["apps.toy.spy.SpyHook", {"type": "EMAHook", "kwargs": {"decay": 0.5}}, "CheckpointHook"]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two stages in the working directory."""
    config = enter_project(tmp_path, monkeypatch, spy=SPY)
    write_stages({"name": "warm", "epochs": 2}, {"name": "tune", "init_from": "previous"})
    return config


def write_stages(*changes: dict[str, Any]) -> None:
    """The config with these stages; each is the project's own with a few keys changed."""
    path = Path(CONFIG)
    tree = yaml.safe_load(path.read_text())
    own = {**tree["stages"][0], "epochs": 1, "hooks": HOOKS}
    path.write_text(yaml.safe_dump({"stages": [{**own, **one} for one in changes]}))


def train(folder: str, *overrides: str, **more: Any) -> Any:
    return cvtrainer.train(CONFIG, overrides=[f"dir={folder}", *overrides], **more)


def seen() -> dict[str, Any]:
    found: dict[str, Any] = importlib.import_module("apps.toy.spy").SEEN
    return found


def newest(run: str, stage: str) -> dict[str, Any]:
    files = (Path(run) / "checkpoints" / stage).glob("checkpoint_epoch_*.pth")
    return read_checkpoint(max(files, key=lambda path: int(path.stem.rpartition("_")[2])))


def lines(run: str) -> list[tuple[str, str, int]]:
    entries = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return [(one["stage"], one["phase"], one["step"]) for one in entries]


def times(run: str) -> dict[Path, int]:
    """When each file was written; the lock is taken in any case."""
    files = [path for path in Path(run).rglob("*.*") if path.name != ".lock"]
    return {path: path.stat().st_mtime_ns for path in files}


def killed(folder: str, at: Any, *overrides: str, **more: Any) -> None:
    """A run that ends with an exception there."""
    seen().clear()
    seen()["fails"] = at
    with pytest.raises(RuntimeError, match="killed"):
        train(folder, *overrides, **more)
    seen().clear()


@pytest.mark.seed("S0-19", "S2-70")
def test_another_head_is_told_and_stays_as_initialised(toy: Path) -> None:
    lenient = {"source": "previous", "strict": False}
    write_stages(
        {"name": "warm"},
        {"name": "tune", "model_args": {"num_classes": 5}, "init_from": lenient},
        {"name": "fresh", "model_args": {"num_classes": 5}},
    )
    train("run")
    log = Path("run/train.log").read_text()
    assert (
        "init_from: previous: 7 of 9 weights taken over (averaged), "
        "wrong shape 2: head.1.weight (3, 8) for (5, 8), head.1.bias (3,) for (5,)"
    ) in log
    (fit,) = json.loads(Path("run/handover/tune.json").read_text())["fits"]
    assert fit["wrong_shape"]["head.1.weight"] == [[3, 8], [5, 8]]
    assert len(fit["loaded"]) == 7
    left = newest("run", "warm")["hooks"]["ema"]["averaged_weights"]["model"]
    start, fresh = seen()["start"]["tune"], seen()["start"]["fresh"]
    assert all(torch.equal(start[name], left[name]) for name in fit["loaded"])
    assert torch.equal(start["head.1.weight"], fresh["head.1.weight"])
    assert seen()["moments"]["tune"] == seen()["step"]["tune"] == 0


def test_a_strict_misfit_ends_the_run_with_all_of_it(toy: Path) -> None:
    args = {"num_classes": 5, "width": 4}
    write_stages({"name": "warm"}, {"name": "tune", "model_args": args, "init_from": "warm"})
    with pytest.raises(UserError) as caught:
        train("run")
    told = str(caught.value)
    assert told.startswith("init_from: warm: the weights do not fit the model (wrong shape: ")
    assert "strict: false" in told
    assert "run/handover/tune.json" in told
    (fit,) = json.loads(Path("run/handover/tune.json").read_text())["fits"]
    assert len(fit["wrong_shape"]) == 8
    assert seen()["trained"] == ["warm"]


@pytest.mark.parametrize("averaged", [True, False])
def test_the_average_or_the_raw_weights_are_handed_over(toy: Path, averaged: bool) -> None:
    block = {"source": "warm", "averaged": averaged}
    write_stages({"name": "warm"}, {"name": "tune", "init_from": block})
    train("run")
    state = newest("run", "warm")
    kept = state["hooks"]["ema"]["averaged_weights"]["model"]
    expected = kept if averaged else state["networks"]["model"]
    other = state["networks"]["model"] if averaged else kept
    start = seen()["start"]["tune"]["head.1.weight"]
    assert torch.equal(start, expected["head.1.weight"])
    assert not torch.equal(start, other["head.1.weight"])


@pytest.mark.parametrize("marked", [True, False])
def test_killed_between_two_stages(toy: Path, marked: bool) -> None:
    """Also where the first one was saved for the last time but not yet noted to be over."""
    seen().clear()
    whole = train("whole")
    draws = [one for one in seen()["draws"] if one[0] == "tune"]
    killed("cut", "tune")
    if not marked:
        Path("cut/stages.json").unlink()
    again = train("cut", resume="auto")
    assert seen()["draws"] == draws
    assert seen()["trained"] == (["tune"] if marked else ["warm", "tune"])
    assert_same(without_identity(newest("whole", "tune")), without_identity(newest("cut", "tune")))
    assert again.metrics["tune"] == whole.metrics["tune"]
    assert lines("cut") == lines("whole")
    told = Path("cut/train.log").read_text()
    assert ("stage warm is over (epoch 2, step 10); going on with tune" in told) == marked


def test_killed_in_the_second_stage_before_it_saved(toy: Path) -> None:
    """It begins again with the same weights; no step of it is logged twice."""
    loggers = {"logger": ["console", "tensorboard"]}
    often = {"type": "LoggerHook", "kwargs": {"train_log_freq": 1}}
    write_stages(
        {"name": "warm", **loggers},
        {"name": "tune", "epochs": 2, "init_from": "warm", "hooks": [*HOOKS, often], **loggers},
    )
    whole = train("whole")
    killed("cut", ("tune", 3))
    assert [line for line in lines("cut") if line[0] == "tune"] == [
        ("tune", "train", step) for step in (1, 2)
    ]
    train("cut", resume="auto")
    assert seen()["trained"] == ["tune"]
    assert seen()["step"]["tune"] == 0
    assert lines("cut") == lines("whole")
    assert_same(without_identity(newest("whole", "tune")), without_identity(newest("cut", "tune")))
    curve = EventAccumulator("cut/tensorboard/tune").Reload().Scalars("train/loss")
    assert [event.step for event in curve] == list(range(1, 11))
    assert whole.metrics["tune"]


def test_killed_within_the_second_stage_it_goes_on_there(toy: Path) -> None:
    write_stages({"name": "warm"}, {"name": "tune", "epochs": 3, "init_from": "warm"})
    whole = train("whole")
    killed("cut", ("tune", 8))
    again = train("cut", resume="auto")
    assert seen()["trained"] == ["tune"]
    assert seen()["step"]["tune"] == 5
    assert again.metrics["tune"] == whole.metrics["tune"]
    assert_same(without_identity(newest("whole", "tune")), without_identity(newest("cut", "tune")))
    assert lines("cut") == lines("whole")


def test_a_stage_that_was_ended_early_stays_over(toy: Path) -> None:
    seen()["stops"] = ("warm", 1)
    train("whole")
    killed_at_tune = {"fails": "tune", "stops": ("warm", 1)}
    seen().clear()
    seen().update(killed_at_tune)
    with pytest.raises(RuntimeError, match="killed"):
        train("cut")
    seen().clear()
    train("cut", resume="auto")
    assert seen()["trained"] == ["tune"]
    assert_same(without_identity(newest("whole", "tune")), without_identity(newest("cut", "tune")))


@pytest.mark.long
def test_going_back_to_the_first_stage_makes_the_second_one_anew(toy: Path) -> None:
    whole = train("whole")
    train("run")
    first = "run/checkpoints/warm/checkpoint_epoch_1.pth"
    seen().clear()
    again = train("run", resume=first)
    assert seen()["trained"] == ["warm", "tune"]
    assert again.metrics == whole.metrics
    assert lines("run") == lines("whole")
    killed("run", "tune", resume=first)
    assert list(json.loads(Path("run/stages.json").read_text())) == ["warm"]
    seen().clear()
    train("run", resume="auto")
    assert seen()["trained"] == ["tune"]
    assert lines("run") == lines("whole")


@pytest.mark.seed("S4-34")
def test_a_finished_run_says_so_and_trains_nothing_unless_epochs_grew(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", CONFIG, "dir=run"]
    assert main(words) == 0
    before = times("run")
    seen().clear()
    capsys.readouterr()
    assert main([*words, "--resume"]) == 0
    told = capsys.readouterr()
    assert "stage tune is finished (epoch 1, step 5, " in told.err
    assert "nothing is left to train" in told.err
    assert "val/accuracy" in told.out
    assert seen() == {}
    assert times("run") == before
    assert main([*words, "--resume", "stages.tune.epochs=3"]) == 0
    assert seen()["trained"] == ["tune"]
    assert seen()["step"] == {"tune": 5}
    names = {path.name for path in Path("run/checkpoints/tune").iterdir()}
    assert {f"checkpoint_epoch_{epoch}.pth" for epoch in (1, 2, 3)} <= names
    assert "checkpoint_epoch_4.pth" not in names


@pytest.mark.long
def test_one_stage_alone(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train("whole")
    seen().clear()
    words = ["train", CONFIG, "dir=run"]
    assert main([*words, "--stage", "warm"]) == 0
    assert seen()["trained"] == ["warm"]
    assert main([*words, "--stage", "tune", "--resume"]) == 0
    assert seen()["trained"] == ["warm", "tune"]
    assert_same(without_identity(newest("whole", "tune")), without_identity(newest("run", "tune")))
    assert not list(Path("run").glob("earlier_*"))
    assert main([*words, "--stage", "tune", "--resume", "stages.tune.epochs=2"]) == 0
    assert seen()["step"]["tune"] == 5
    capsys.readouterr()
    assert main([*words, "--stage", "tuen"]) == 2
    assert "there is no stage 'tuen'. Did you mean tune?" in capsys.readouterr().err
    assert main(["train", CONFIG, "dir=other", "--stage", "tune"]) == 2
    assert "stage has left no checkpoint" in capsys.readouterr().err


@pytest.mark.long
def test_two_processes_agree_on_what_is_over(toy: Path, tmp_path: Path) -> None:
    words = ["train", CONFIG, "dir=run", "device=cpu", "--num_gpus", "2"]
    first = command(*words, "--stage", "warm", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    second = command(*words, "--resume", cwd=tmp_path)
    assert second.returncode == 0, second.stderr
    assert (second.stdout + second.stderr).count(
        "stage warm is over (epoch 2, step 6); going on with tune"
    ) == 1
    assert (second.stdout + second.stderr).count(
        "weights taken over (averaged) (tune.json has all names)"
    ) == 1
    third = command(*words, "--resume", cwd=tmp_path)
    assert third.returncode == 0, third.stderr
    assert (third.stdout + third.stderr).count("nothing is left to train") == 1
    assert "val/accuracy" in third.stdout
