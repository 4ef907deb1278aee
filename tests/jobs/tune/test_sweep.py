"""Whole sweeps: real trials in worker processes, failures, pruning, interruptions, taking over."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.jobs.tune.space import read_space
from cvtrainer.jobs.tune.study import StudyFile
from cvtrainer.jobs.tune.sweep import Search, judged_by, sweep
from cvtrainer.jobs.tune.worker import Order, carry_out, own_device
from tests.project import change, enter_project
from tests.project import cvtrainer as command

OWN = '''
import os
import signal
import time
from pathlib import Path

from cvtrainer.hooks.base import BaseHook


class SlowHook(BaseHook):
    """Takes its time."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds

    def after_step(self, stage):
        time.sleep(self.seconds)


class DiesHook(BaseHook):
    """Kills its process in the second epoch: so often as its file has letters less than that."""

    def __init__(self, times: int = 1) -> None:
        self.times = times

    def after_step(self, stage):
        marks = Path("deaths")
        died = len(marks.read_text()) if marks.exists() else 0
        if stage.phase == "train" and stage.epoch == 2 and died < self.times:
            marks.write_text("x" * (died + 1))
            os.kill(os.getpid(), signal.SIGKILL)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the working directory with hooks of its own."""
    return enter_project(tmp_path, monkeypatch, own=OWN)


def quiet(text: str) -> None:
    """Nobody listens."""


def order(toy: Path, number: int, **more: Any) -> Order:
    words = {
        "number": number,
        "config": str(toy),
        "overrides": ["epochs=3"],
        "folder": f"study/trials/{number:04}",
        "metric": "val/accuracy",
        "storage": "study.db",
        "pruner": "median",
        "direction": "maximize",
    }
    return Order(**{**words, **more})


def epochs_logged(folder: Path) -> list[int]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["epoch"] for line in lines if line["phase"] == "val"]


def test_a_trial_is_an_ordinary_run_in_its_own_folder(toy: Path) -> None:
    keep = {"type": "CheckpointHook", "kwargs": {"save_dir": "kept", "save_best": True}}
    change(toy, hooks=[keep])
    study = StudyFile(Path("study.db"), pruner="median", direction="maximize")
    ticket = study.ask(read_space(["optimizer.lr=log(1e-4,0.1)"]), "tpe", 0)
    assert ticket is not None
    outcome = carry_out(order(toy, 0))
    assert outcome.ending == "complete"
    run = Path("study/trials/0000")
    assert {path.name for path in run.iterdir()} >= {"run.json", "config.yaml", "metrics.jsonl"}
    assert (run / "checkpoints" / "best_model.pth").is_file()
    assert not Path("kept").exists()
    assert not Path("runs").exists()
    (row,) = study.rows()
    assert list(row.reports) == [1, 2, 3]
    assert outcome.value == max(row.reports.values())


def test_a_trial_that_is_worse_is_pruned_at_a_border(toy: Path) -> None:
    study = StudyFile(Path("study.db"), pruner="median", direction="maximize")
    space = read_space(["optimizer.lr=log(1e-4,0.1)"])
    for _ in range(5):
        ticket = study.ask(space, "random", 0)
        assert ticket is not None
        study.report(ticket.number, {1: 2.0})
        study.complete(ticket.number, 2.0)
    ticket = study.ask(space, "random", 0)
    assert ticket is not None
    outcome = carry_out(order(toy, ticket.number))
    assert outcome.ending == "pruned"
    assert epochs_logged(Path(f"study/trials/{ticket.number:04}")) == [1]


def test_processes_take_gpus_in_turn_unless_one_is_named() -> None:
    assert [own_device("auto", place, 2) for place in range(3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert own_device("auto", 3, 1) == own_device("auto", 3, 0) == "auto"
    assert own_device("cuda:1", 0, 4) == "cuda:1"
    assert own_device("cpu", 0, 4) == "cpu"


def test_a_failure_is_an_outcome_with_its_reason(toy: Path) -> None:
    StudyFile(Path("study.db"), pruner="median", direction="maximize")
    outcome = carry_out(order(toy, 0, overrides=["model.num_classes=2"]))
    assert outcome.ending == "failed"
    assert "the data has 3 classes" in outcome.reason
    outcome = carry_out(order(toy, 0, overrides=["optimizer.lr=-1.0"]))
    assert outcome.ending == "failed"
    assert "\n" not in outcome.reason


def test_what_is_judged_is_checked_first(toy: Path) -> None:
    change(toy, hooks=[])
    compiled = compile_config(toy)
    assert judged_by(compiled, None) == "val/accuracy"
    assert judged_by(compile_config(toy, ["meters.accuracy=null"]), None) == "val/loss"
    with pytest.raises(UserError, match="Did you mean val_accuracy") as caught:
        judged_by(compiled, "val_acuracy")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"no dataloader\.val"):
        judged_by(compile_config(toy, ["dataloader.val=null"]), None)
    space = read_space(["optimizer.lr=log(1e-4,0.1)"])
    with pytest.raises(UserError, match="one process"):
        sweep(toy, space, overrides=["ddp.enabled=true"], say=quiet)
    assert not Path("runs").exists()


@pytest.mark.long
def test_a_sweep_with_two_workers_and_a_value_that_fails(toy: Path, tmp_path: Path) -> None:
    words = ["tune", "sweep", "--config", str(toy), "epochs=1", "--sampler", "grid"]
    words += ["--workers", "2", "--storage", "found/study.journal"]
    words += ["-p", "model.num_classes=choice(3,2,4)"]
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "found/study/trials.csv").read_text().splitlines()))
    states = {row["model.num_classes"]: row["state"] for row in rows}
    assert states == {"3": "complete", "2": "failed", "4": "complete"}
    assert "3 classes" in next(row["reason"] for row in rows if row["state"] == "failed")
    best = tmp_path / "found" / "study" / "best.yaml"
    assert f"cvtrainer train --config {best.relative_to(tmp_path)}" in done.stdout
    resolved = compile_config(best).resolved
    assert resolved["stages"][0]["model"]["kwargs"]["num_classes"] in (3, 4)
    assert resolved["dir"] is None
    before = (tmp_path / "found/study/trials.csv").read_text()
    again = command(*words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "found/study/trials.csv").read_text() == before


@pytest.mark.long
@pytest.mark.parametrize("times", [1, 9])
def test_a_process_that_dies_is_taken_over_and_after_that_failed(toy: Path, times: int) -> None:
    hooks = [{"type": "apps.toy.own.DiesHook", "kwargs": {"times": times}}]
    change(toy, hooks=[*hooks, {"type": "CheckpointHook", "kwargs": {"save_freq": 1}}])
    space = read_space(["optimizer.lr=choice(0.01)"])
    found = sweep(toy, space, search=Search(trials=1), storage="study.db", say=quiet)
    states = [row.state for row in found.rows]
    if times == 1:
        assert states == ["taken over", "complete"]
        assert "SIGKILL" in found.rows[0].reason
        assert epochs_logged(Path("study/trials/0000")) == [1, 2, 3]
        assert list(found.rows[1].reports) == [1, 2, 3]
    else:
        assert states == ["taken over", "taken over", "failed"]
        assert found.best is None
    assert [path.name for path in Path("study/trials").iterdir()] == ["0000"]


def wait_for(true: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _hear_ctrl_c() -> None:
    """What a shell starts in its background ignores it, and so do its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_a_sweep_that_was_ended_goes_on(toy: Path, tmp_path: Path, number: int) -> None:
    hooks = [{"type": "CheckpointHook", "kwargs": {"save_freq": 1}}, "apps.toy.own.SlowHook"]
    change(toy, hooks=hooks)
    words = ["tune", "sweep", "--config", str(toy), "epochs=6", "--trials", "2"]
    words += ["--sampler", "random", "--storage", "study.db", "-p", "optimizer.lr=log(1e-3,0.1)"]
    program = [sys.executable, "-m", "cvtrainer.cli", *words]
    running = subprocess.Popen(
        program, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=_hear_ctrl_c
    )
    log = tmp_path / "study/trials/0000/checkpoints/checkpoint_epoch_2.pth"
    try:
        wait_for(log.exists)
        running.send_signal(number)
        _, told = running.communicate(timeout=60)
    finally:
        running.kill()
    if number == signal.SIGINT:
        assert running.returncode == 130, told
        assert "the same command goes on" in told
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = StudyFile(tmp_path / "study.db", pruner="none").rows()
    assert [row.state for row in rows] == ["taken over", "complete", "complete"]
    assert rows[0].values == rows[1].values != rows[2].values
    assert epochs_logged(tmp_path / "study/trials/0000") == [1, 2, 3, 4, 5, 6]
    assert list(rows[1].reports) == [1, 2, 3, 4, 5, 6]
    assert len(list((tmp_path / "study/trials").iterdir())) == 2
