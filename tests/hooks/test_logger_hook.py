"""Which numbers are handed to the loggers, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cvtrainer.core.run_folder import RunFolder
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import BaseHook, LoggerHook, LRSchedulerHook
from cvtrainer.logger import JsonlLogger
from cvtrainer.meters import AccuracyMeter, LossMeter
from cvtrainer.protocols import LogRecord
from tests.toy import batches, toy_trainer


class Kept:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[LogRecord] = []

    def open(self, run: RunFolder, resume_step: int | None, stage: str = "train") -> None: ...

    def write(self, record: LogRecord) -> None:
        self.records.append(record)

    def message(self, text: str) -> None: ...

    def close(self) -> None: ...

    def steps(self, phase: str) -> list[int]:
        return [record.step for record in self.records if record.phase == phase]


def trained(*hooks: Any, epochs: int = 1, **parts: Any) -> Kept:
    kept = Kept()
    settings = StageSettings(writers=(kept,), **parts.pop("settings", {}))
    parts.setdefault("meters", [LossMeter(), AccuracyMeter()])
    parts.setdefault("train", batches(25))
    toy_trainer(hooks, settings=settings, **parts).train(epochs)
    return kept


@pytest.mark.seed("S0-96")
def test_records_of_25_steps_at_a_frequency_of_10() -> None:
    kept = trained(LoggerHook(train_log_freq=10, val_log_freq=1), epochs=2)
    assert kept.steps("train") == [10, 20, 25, 30, 40, 50]
    assert kept.steps("val") == [25, 50]


@pytest.mark.seed("S0-96")
def test_val_records_come_every_so_many_evaluations() -> None:
    kept = trained(LoggerHook(val_log_freq=2), epochs=5, train=batches(3))
    assert kept.steps("val") == [6, 12]


def test_a_record_holds_loss_metrics_rate_and_speed() -> None:
    kept = trained(LoggerHook())
    values = kept.records[0].values
    assert {"train/loss", "train/accuracy", "lr", "samples/s"} <= set(values)
    assert kept.records[0].epoch == 1
    assert values["lr"] == 0.1
    val = next(record for record in kept.records if record.phase == "val")
    assert {"val/loss", "val/accuracy"} <= set(val.values)


def test_without_a_loss_meter_the_steps_own_loss_is_written() -> None:
    assert "train/loss" in trained(LoggerHook(), meters=[AccuracyMeter()]).records[0].values


def test_the_rate_is_the_one_that_the_step_used() -> None:
    scheduler = LRSchedulerHook(
        scheduler_type="StepLR", scheduler_kwargs={"step_size": 1, "gamma": 0.5}
    )
    kept = trained(scheduler, LoggerHook(), epochs=2, train=batches(3))
    rates = [record.values["lr"] for record in kept.records if record.phase == "train"]
    assert rates == [0.1, 0.05]


class CountingLoss(LossMeter):
    """Counts over all its copies how often somebody reads."""

    reads = 0

    def compute(self) -> dict[str, float]:
        CountingLoss.reads += 1
        return super().compute()


def test_meters_are_read_only_when_a_record_is_due() -> None:
    CountingLoss.reads = 0
    trained(LoggerHook(train_log_freq=10), meters=[CountingLoss()], val=False)
    assert CountingLoss.reads == 3


class StopAt(BaseHook):
    """Ends the stage in the middle of an epoch."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, stage: Any) -> None:
        if stage.step == self.step:
            stage.trainer.stop()


def test_the_records_of_a_resumed_run_are_those_of_the_unbroken_one() -> None:
    parts: dict[str, Any] = {"meters": [LossMeter(), AccuracyMeter()], "train": batches(5)}
    whole = trained(LoggerHook(train_log_freq=2), epochs=3, **parts)
    first = toy_trainer([LoggerHook(train_log_freq=2), StopAt(7)], **parts)
    first.train(3)
    state = first.state_dict()
    kept = Kept()
    second = toy_trainer(
        [LoggerHook(train_log_freq=2)], settings=StageSettings(writers=(kept,)), **parts
    )
    second.load_state_dict(state)
    second.train(3)
    assert [_without_speed(one) for one in kept.records] == [
        _without_speed(one) for one in whole.records if one.step > 7
    ]


def _without_speed(record: LogRecord) -> tuple[str, int, dict[str, float]]:
    values = {name: value for name, value in record.values.items() if name != "samples/s"}
    return record.phase, record.step, values


def test_the_hook_feeds_real_files(tmp_path: Path) -> None:
    run = RunFolder.create("p", "n", root=tmp_path)
    logger = JsonlLogger()
    logger.open(run, None)
    settings = StageSettings(writers=(logger,))
    toy_trainer([LoggerHook()], meters=[LossMeter()], run=run, settings=settings).train(2)
    logger.close()
    assert len((run.path / "metrics.jsonl").read_text().splitlines()) == 4
