"""Logging in whole runs: what is never read, what a resume leaves, loggers of a real config."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cvtrainer.core.run_folder import RunFolder
from cvtrainer.engine.checkpoint import read_checkpoint
from cvtrainer.engine.stage import StageSettings
from cvtrainer.experiment import Experiment
from cvtrainer.hooks import LoggerHook
from cvtrainer.hooks.base import BaseHook, Rank
from cvtrainer.logger import JsonlLogger
from cvtrainer.meters import LossMeter
from cvtrainer.protocols import LogRecord
from cvtrainer.trainer import Trainer
from tests.logger.run_files import json_lines, scalars
from tests.project import change, cvtrainer, write_project
from tests.toy import BatchList, ToyModel, batches, new_run, toy_trainer


class Memory:
    """A writer that keeps what it gets."""

    def __init__(self) -> None:
        self.records: list[LogRecord] = []

    def open(self, run: RunFolder, resume_step: int | None, stage: str = "train") -> None: ...

    def write(self, record: LogRecord) -> None:
        self.records.append(record)

    def message(self, text: str) -> None: ...

    def close(self) -> None: ...

    def steps(self, phase: str) -> list[int]:
        return [record.step for record in self.records if record.phase == phase]


def test_evaluations_within_an_epoch_are_not_taken_for_training() -> None:
    memory = Memory()
    toy_trainer(
        [LoggerHook(train_log_freq=5)],
        meters=[LossMeter()],
        train=batches(12),
        settings=StageSettings(writers=(memory,), eval_epochs=None, eval_steps=5),
    ).train(1)
    assert memory.steps("train") == [5, 10, 12]
    assert memory.steps("val") == [5, 10]


def test_groups_with_rates_of_their_own_are_named() -> None:
    memory = Memory()
    model = ToyModel()
    optimizer = torch.optim.SGD(
        [
            {"params": model.backbone.parameters(), "lr": 0.5, "name": "backbone"},
            {"params": model.head.parameters(), "lr": 0.25},
        ],
        lr=1.0,
    )
    Trainer(
        model,
        torch.nn.CrossEntropyLoss(),
        optimizer,
        {"train": batches(2)},
        hooks=[LoggerHook()],
        settings=StageSettings(writers=(memory,)),
    ).train(1)
    values = memory.records[0].values
    assert (values["lr/backbone"], values["lr/1"]) == (0.5, 0.25)
    assert values["train/loss"] > 0


class CountReads(LossMeter):
    """Counts how often somebody asks; shared by all copies."""

    reads: list[int] = []  # noqa: RUF012 (shared on purpose)

    def compute(self) -> dict[str, float]:
        self.reads.append(1)
        return super().compute()


def test_nothing_is_read_between_records(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    real = torch.Tensor.__float__
    monkeypatch.setattr(torch.Tensor, "__float__", lambda tensor: reads.append(1) or real(tensor))
    monkeypatch.setattr(torch.Tensor, "item", lambda tensor: reads.append(1) or real(tensor))
    counts = []
    for hooks in ([], [LoggerHook(train_log_freq=10)]):  # the optimizer itself reads its counters
        memory = Memory()
        CountReads.reads.clear()
        reads.clear()
        toy_trainer(
            hooks,
            meters=[CountReads()],
            train=batches(19),
            val=False,
            settings=StageSettings(writers=(memory,)),
        ).train(1)
        counts.append(len(reads))
    assert memory.steps("train") == [10, 19]
    assert len(CountReads.reads) == 2
    assert counts[1] - counts[0] <= 3


def test_other_ranks_write_nothing() -> None:
    trainer = toy_trainer(
        [LoggerHook(train_log_freq=1)], meters=[CountReads()], train=batches(5), val=False
    )
    CountReads.reads.clear()
    trainer.train(1)
    assert len(CountReads.reads) == 1  # the trainer's own, at the end of the epoch


class SaveAt(BaseHook):
    rank = Rank.SAVE

    def __init__(self, step: int, path: Path) -> None:
        self.step, self.path = step, path

    def after_step(self, stage: Any) -> None:
        if stage.phase == "train" and stage.step == self.step:
            stage.trainer.request_save(self.path)


@pytest.mark.parametrize("step", [7, 10])
def test_after_a_resume_the_file_is_as_if_unbroken(tmp_path: Path, step: int) -> None:
    """Also from the last batch of an epoch, whose end is then made once more."""
    run = new_run(tmp_path)
    path = tmp_path / "checkpoint.pth"

    def trainer(writer: JsonlLogger) -> Trainer:
        return toy_trainer(
            [LoggerHook(train_log_freq=3, val_log_freq=2), SaveAt(step, path)],
            meters=[LossMeter()],
            run=run,
            train=BatchList(batches(10), shuffle=True),
            settings=StageSettings(writers=(writer,)),
        )

    first = JsonlLogger()
    first.open(run, None)
    trainer(first).train(3)
    first.close()
    file = run.path / "metrics.jsonl"
    unbroken = [_lasting(line) for line in json_lines(file)]

    second = JsonlLogger()
    resumed = trainer(second)
    resumed.load_state_dict(read_checkpoint(path))
    assert resumed.clock.step == step
    second.open(run, step)
    resumed.train(3)
    second.close()
    assert [_lasting(line) for line in json_lines(file)] == unbroken


def _lasting(line: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in line.items() if key not in ("time", "samples/s")}


@pytest.mark.seed("S0-48", "S0-49", "S0-50", "S0-51", "S0-53")
def test_four_loggers_of_a_config_without_a_logger_hook(tmp_path: Path) -> None:
    config = write_project(tmp_path)
    change(
        config,
        epochs=2,
        hooks=[],
        logger=[
            {"type": "console"},
            {"type": "file", "kwargs": {"log_dir": "./logs", "filename": "train.log"}},
            {"type": "cvtrainer.logger.TensorBoardLogger", "kwargs": {"log_dir": "./tb"}},
            {"type": "jsonl", "kwargs": {"log_dir": "./logs"}},
        ],
    )
    done = cvtrainer("train", "--config", str(config), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    val_lines = [line for line in done.stdout.splitlines() if line.startswith("val ")]
    assert len(val_lines) == 2
    assert "loss" in val_lines[0]
    assert "accuracy" in val_lines[0]
    log = (tmp_path / "logs" / "train.log").read_text().splitlines()
    assert sum("  val   epoch" in line for line in log) == 2
    lines = json_lines(tmp_path / "logs" / "metrics.jsonl")
    assert [(line["phase"], line["step"]) for line in lines] == [
        ("train", 5),
        ("val", 5),
        ("train", 10),
        ("val", 10),
    ]
    curve = scalars(tmp_path / "tb", "val/loss")
    assert [step for step, _ in curve] == [5, 10]
    assert [value for _, value in curve] == pytest.approx(
        [line["val/loss"] for line in lines if line["phase"] == "val"]
    )


@pytest.mark.seed("S0-48")
def test_loggers_are_built_in_the_order_of_the_config(tmp_path: Path) -> None:
    nodes = [
        {"type": f"cvtrainer.logger:{name}", "kwargs": {}}
        for name in ("JsonlLogger", "TensorBoardLogger", "FileLogger", "ConsoleLogger")
    ]
    writers = Experiment().writers({"logger": nodes})
    assert [type(writer).__name__ for writer in writers] == [
        "JsonlLogger",
        "TensorBoardLogger",
        "FileLogger",
        "ConsoleLogger",
    ]


LIVE = """
import sys
from pathlib import Path
from cvtrainer.hooks import BaseHook, LoggerHook, ProgressBarHook
from cvtrainer.logger import ConsoleLogger
from cvtrainer.meters import AccuracyMeter, LossMeter
from cvtrainer.engine.stage import StageSettings
from tests.toy import batches, toy_trainer

class Fails(BaseHook):
    def after_step(self, stage):
        if stage.step == 7:
            print("a line of the user's own")
        if stage.step == 12:
            raise RuntimeError("the user's own error")

toy_trainer(
    [ProgressBarHook(), LoggerHook(train_log_freq=5), Fails()],
    meters=[LossMeter(), AccuracyMeter()],
    train=batches(10),
    settings=StageSettings(writers=(ConsoleLogger(),)),
).train(2)
"""


@pytest.mark.seed("S0-95")
def test_a_bar_on_a_terminal_keeps_lines_whole_and_is_gone_after_an_error(root: Path) -> None:
    """Bar, console logger, prints and a traceback share one real terminal."""
    pty = pytest.importorskip("pty")
    reader, writer = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "150"}
    child = subprocess.Popen(
        [sys.executable, "-c", LIVE], stdout=writer, stderr=writer, cwd=root, env=environment
    )
    os.close(writer)
    raw = b""
    try:
        while piece := os.read(reader, 65536):
            raw += piece
    except OSError:  # a terminal ends so on Linux
        pass
    assert child.wait() == 1
    os.close(reader)
    shown = raw.decode()
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", shown)]
    bars = [line for line in lines if line.startswith("epoch 1/2 train")]
    assert " 0/10" in bars[0]
    assert "10/10 loss " in bars[-1]
    assert "accuracy" in bars[-1]
    assert any(line.startswith("epoch 1/2 val") and "2/2 loss" in line for line in lines)
    assert any(re.match(r"train epoch 1 +step 5 +loss .* accuracy", line) for line in lines)
    assert any(re.match(r"val +epoch 1 +step 10 +loss ", line) for line in lines)
    assert any(line.rstrip() == "a line of the user's own" for line in lines)
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert lines[-2:][0].endswith("the user's own error")
