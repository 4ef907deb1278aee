"""Speed, memory and profile: what reaches the records, and that nothing is done between them."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cvtrainer import clear_memory, get_memory
from cvtrainer.core.errors import UserError
from cvtrainer.engine import memory
from cvtrainer.engine.stage import StageSettings
from cvtrainer.hooks import (
    AccumulateHook,
    BaseHook,
    LoggerHook,
    MemoryHook,
    ProfilerHook,
    SWAHook,
    ThroughputHook,
)
from cvtrainer.logger import JsonlLogger, TensorBoardLogger, Writers
from tests.hooks.test_logger_hook import trained
from tests.logger.run_files import json_lines, scalars
from tests.toy import BatchList, batches, new_run, toy_trainer
from tests.trainer.test_state import assert_same


class SlowData(BatchList):
    """Every batch takes a while to come."""

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Any]:
        for batch in super().epoch(epoch, start=start):
            time.sleep(0.02)
            yield batch


def test_speed_and_waiting_are_in_each_record_of_training() -> None:
    kept = trained(ThroughputHook(), LoggerHook(10), train=SlowData(batches(15)), epochs=2)
    records = [one.values for one in kept.records if one.phase == "train"]
    assert kept.steps("train") == [10, 15, 20, 30]
    for values in records:
        assert values["train/ms_per_step"] >= 20
        assert 0.3 < values["train/data_wait"] <= 1
        per_step = values["train/samples_per_s"] * values["train/ms_per_step"] / 1000
        assert 3 <= per_step <= 5
    assert all("train/data_wait" not in one.values for one in kept.records if one.phase == "val")


def test_other_peoples_waiting_is_not_counted() -> None:
    """An average's statistics are measured on training batches, while evaluating."""
    hooks = (SWAHook(start=0, every="1st"), ThroughputHook(), LoggerHook(0))
    settings = {"eval_epochs": None, "eval_steps": 1}
    kept = trained(*hooks, train=SlowData(batches(5)), settings=settings)
    (values,) = [one.values for one in kept.records if one.phase == "train"]
    assert 20 <= values["train/ms_per_step"] < 100
    assert values["train/data_wait"] < 1


def test_the_stream_is_its_own_again_afterwards() -> None:
    stream = BatchList(batches(3))
    trainer = toy_trainer([ThroughputHook(), MemoryHook(), LoggerHook()], train=stream)
    trainer.train(1)
    assert trainer.streams["train"] is stream
    trainer.evaluate()


def test_memory_of_this_process_and_its_workers_is_logged(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    writers = Writers([JsonlLogger(), TensorBoardLogger()])
    writers.open(run, None)
    settings = StageSettings(writers=(writers,))
    hooks = [MemoryHook(), ThroughputHook(), LoggerHook(2)]
    toy_trainer(hooks, train=batches(5), run=run, settings=settings).train(1)
    writers.close()
    lines = [one for one in json_lines(run.path / "metrics.jsonl") if one["phase"] == "train"]
    assert [one["step"] for one in lines] == [2, 4, 5]
    assert all(0.05 < one["train/memory_gb"] < 100 for one in lines)
    for tag in ("train/memory_gb", "train/ms_per_step", "train/data_wait"):
        assert [step for step, _ in scalars(run.path / "tensorboard", tag)] == [2, 4, 5]


def test_children_count() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert child.pid in memory._descendants(os.getpid())
    finally:
        child.communicate(b"\n")


def test_nothing_is_looked_at_between_records(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    for name in ("process_memory", "peak_gpu_memory"):
        real = getattr(memory, name)
        monkeypatch.setattr(
            f"cvtrainer.hooks.memory.{name}",
            lambda *given, real=real: looks.append(1) or real(*given),
        )
    trained(MemoryHook(), LoggerHook(10), train=batches(25), val=False)
    assert len(looks) == 1 + 2 * 3


def test_training_is_the_same_beside_them(tmp_path: Path) -> None:
    states = []
    profiler = ProfilerHook(1, 1, 2, folder=str(tmp_path))
    for hooks in ([], [ThroughputHook(), MemoryHook(), profiler]):
        trainer = toy_trainer([*hooks, LoggerHook(2)], train=BatchList(batches(6), shuffle=True))
        trainer.train(2)
        states.append(trainer.state_dict())
    for part in ("networks", "optimizers", "random", "clock"):
        assert_same(states[0][part], states[1][part])


@pytest.mark.seed("S4-23")
def test_get_and_clear_memory() -> None:
    if not torch.cuda.is_available():
        assert get_memory() == 0
        assert get_memory(fraction=True) == 0
    assert get_memory("cpu") == 0

    class Ring:
        own: Ring

    gc.disable()
    try:
        ring = Ring()
        ring.own = ring
        gone = weakref.ref(ring)
        del ring
        clear_memory(threshold=0.5)
        assert gone() is not None
        clear_memory()
        assert gone() is None
    finally:
        gc.enable()


class Told:
    """A writer that keeps messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def open(self, *given: Any) -> None: ...

    def write(self, record: Any) -> None: ...

    def message(self, text: str) -> None:
        self.messages.append(text)

    def close(self) -> None: ...


def profiled(tmp_path: Path, *hooks: BaseHook, epochs: int = 2) -> tuple[list[str], list[Path]]:
    run, told = new_run(tmp_path), Told()
    settings = StageSettings(writers=(told,))
    toy_trainer(hooks, train=batches(8), val=False, run=run, settings=settings).train(epochs)
    return told.messages, sorted((run.path / "profile").glob("*.json"))


def test_only_the_active_steps_are_in_the_trace(tmp_path: Path) -> None:
    messages, (trace,) = profiled(tmp_path, ProfilerHook(wait=3, warmup=2, active=4, top=3))
    events = json.loads(trace.read_text())["traceEvents"]
    steps = {one["name"] for one in events if str(one.get("name")).startswith("ProfilerStep")}
    assert len(steps) == 4
    adams = [one for one in events if one.get("name") == "Optimizer.step#Adam.step"]
    assert len(adams) == 4
    assert trace.name == "train_step_9.json"
    assert messages[0] == f"profile of steps 6 to 9: {trace}"
    assert messages[1].split() == ["operator", "calls", "ms", "a", "step", "share"]
    assert len(messages) == 5
    assert any("aten::" in line or "Optimizer" in line for line in messages[2:])


def test_steps_are_the_optimizers(tmp_path: Path) -> None:
    _, (trace,) = profiled(tmp_path, AccumulateHook(4), ProfilerHook(wait=0, warmup=1, active=2))
    events = json.loads(trace.read_text())["traceEvents"]
    assert len([one for one in events if one.get("name") == "Optimizer.step#Adam.step"]) == 2
    assert len([one for one in events if one.get("name") == "aten::cross_entropy_loss"]) == 8


def test_a_stage_that_ends_sooner_keeps_what_there_is(tmp_path: Path) -> None:
    messages, (trace,) = profiled(tmp_path, ProfilerHook(wait=4, warmup=1, active=50), epochs=1)
    assert "steps 6 to 8" in messages[0]
    assert trace.stat().st_size > 0


def test_a_run_that_is_resumed_behind_them_does_not_profile_again(tmp_path: Path) -> None:
    first = toy_trainer([ProfilerHook(2, 1, 2, folder=str(tmp_path))], train=batches(8), val=False)
    first.train(1)
    again = toy_trainer([ProfilerHook(2, 1, 2, folder=str(tmp_path / "b"))], train=batches(8))
    again.load_state_dict(first.state_dict())
    again.train(2)
    assert len(list(tmp_path.glob("*.json"))) == 1
    assert not (tmp_path / "b").exists()


def test_what_makes_no_sense_is_one_line() -> None:
    with pytest.raises(UserError, match=r"hooks\.profiler: active is 0"):
        ProfilerHook(active=0)
