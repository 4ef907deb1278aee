"""Writing goes on behind the loop's back: one at a time, told of at a border, never lost."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cvtrainer.core.errors import RunFailed
from cvtrainer.engine import saving
from cvtrainer.engine.checkpoint import read_checkpoint, write_checkpoint
from cvtrainer.hooks.base import BaseHook
from cvtrainer.hooks.ema import EMAHook
from tests.engine.faults import disk_with_room
from tests.toy import batches, toy_trainer


class SlowDisk:
    """Writes only once it may, and knows how many wrote at a time."""

    def __init__(self) -> None:
        self.may_write = threading.Event()
        self.begun: list[str] = []
        self.writing = 0
        self.most = 0

    def write(self, path: Path, state: Any) -> None:
        self.begun.append(path.name)
        self.writing += 1
        self.most = max(self.most, self.writing)
        assert self.may_write.wait(30)
        write_checkpoint(path, state)
        self.writing -= 1


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    slow = SlowDisk()
    monkeypatch.setattr(saving, "write_checkpoint", slow.write)
    yield slow
    slow.may_write.set()


class At(BaseHook):
    """Does something after a step, and remembers what it was told about files."""

    def __init__(self, **done: Callable[[Any], None]) -> None:
        self.done = {int(name.removeprefix("step_")): what for name, what in done.items()}
        self.told: list[tuple[str, int, bool]] = []

    def after_step(self, stage: Any) -> None:
        if stage.phase == "train" and stage.step in self.done:
            self.done[stage.step](stage)

    def after_save(self, stage: Any) -> None:
        path = stage["checkpoint_path"]
        self.told.append((path.name, stage.step, path.is_file()))


def ask(path: Path, **more: Any) -> Callable[[Any], None]:
    return lambda stage: stage.trainer.request_save(path, **more)


def landed() -> None:
    """Wait for the writer without telling the trainer."""
    for thread in threading.enumerate():
        if thread.name == "cvtrainer-checkpoint":
            thread.join(30)


def test_training_goes_on_and_the_file_holds_the_border(tmp_path: Path, disk: SlowDisk) -> None:
    """Weights, averages, optimizer and lists have moved on when the file is written."""
    path = tmp_path / "a.pth"
    at_border: dict[str, Any] = {}

    class Growing(BaseHook):
        def __init__(self) -> None:
            self.seen: list[int] = []

        def after_step(self, stage: Any) -> None:
            self.seen.append(stage.step)

        def state_dict(self) -> dict[str, Any]:
            return {"seen": self.seen}

        def before_save(self, stage: Any) -> None:
            trainer = stage.trainer
            at_border["weight"] = trainer.model.head.weight.detach().clone()
            at_border["moment"] = trainer.optimizer.state_dict()["state"][0]["exp_avg"].clone()
            average = trainer.hooks["ema"].state_dict()["averaged_weights"]["model"]
            at_border["average"] = average["head.weight"].clone()

    def let_write(stage: Any) -> None:
        assert not path.exists()
        disk.may_write.set()
        landed()

    hook = At(step_2=ask(path), step_6=let_write)
    toy_trainer([EMAHook(decay=0.5), Growing(), hook], train=batches(8)).train(1)
    state = read_checkpoint(path)
    assert state["clock"]["step"] == 2
    assert torch.equal(state["networks"]["model"]["head.weight"], at_border["weight"])
    assert torch.equal(state["optimizers"]["main"]["state"][0]["exp_avg"], at_border["moment"])
    averaged = state["hooks"]["ema"]["averaged_weights"]["model"]["head.weight"]
    assert torch.equal(averaged, at_border["average"])
    assert state["hooks"]["growing"]["seen"] == [1, 2]
    assert hook.told == [("a.pth", 6, True)]


def test_a_second_save_waits_for_the_first(tmp_path: Path, disk: SlowDisk) -> None:
    def let_write_soon(stage: Any) -> None:
        assert disk.begun == ["a.pth"]
        stage.trainer.request_save(tmp_path / "b.pth")
        threading.Timer(0.1, disk.may_write.set).start()

    hook = At(step_1=ask(tmp_path / "a.pth"), step_3=let_write_soon)
    trainer = toy_trainer([hook])
    trainer.train(1)
    assert disk.most == 1
    assert [name for name, _, _ in hook.told] == ["a.pth", "b.pth"]
    assert hook.told[0] == ("a.pth", 3, True)
    assert [path.name for path in trainer.saved] == ["a.pth", "b.pth"]
    assert read_checkpoint(tmp_path / "b.pth")["clock"]["step"] == 3


def test_several_files_of_one_border_hold_one_state(tmp_path: Path) -> None:
    states: list[int] = []

    class Counting(BaseHook):
        def state_dict(self) -> dict[str, Any]:
            states.append(1)
            return {}

    def both(stage: Any) -> None:
        for name in ("a.pth", "b.pth", "a.pth"):
            stage.trainer.request_save(tmp_path / name)

    toy_trainer([Counting(), At(step_2=both)]).train(1)
    assert len(states) == 1
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()


def test_who_waits_finds_the_file_at_once(tmp_path: Path) -> None:
    hook = At(step_2=ask(tmp_path / "a.pth", wait=True))
    toy_trainer([hook]).train(1)
    assert hook.told == [("a.pth", 2, True)]


def test_outside_of_training_a_save_is_whole_on_return(tmp_path: Path) -> None:
    trainer = toy_trainer()
    trainer.save(tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth")["clock"]["step"] == 0


def test_reading_what_was_saved_waits_for_it(tmp_path: Path) -> None:
    seen: list[bool] = []

    def look(stage: Any) -> None:
        seen.append([path.is_file() for path in stage.trainer.saved] == [True])

    toy_trainer([At(step_1=ask(tmp_path / "a.pth"), step_2=look)]).train(1)
    assert seen == [True]


def test_a_full_disk_is_told_at_the_next_border(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line that names the file, on the thread that trains; hooks hear that it went wrong."""
    disk_with_room(monkeypatch, 3000)
    hook = At(step_1=ask(tmp_path / "a.pth"), step_2=lambda stage: landed())
    trainer = toy_trainer([hook])
    with pytest.raises(RunFailed, match=r"a\.pth: the disk is full") as caught:
        trainer.train(1)
    assert "\n" not in str(caught.value)
    assert trainer.clock.step == 2
    assert trainer.context.get("exception") is caught.value
    assert hook.told == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_being_written_survives_an_exception(tmp_path: Path, disk: SlowDisk) -> None:
    def fail(stage: Any) -> None:
        threading.Timer(0.1, disk.may_write.set).start()
        raise ValueError("the user's own")

    hook = At(step_1=ask(tmp_path / "a.pth"), step_3=fail)
    with pytest.raises(ValueError, match="the user's own"):
        toy_trainer([hook]).train(1)
    assert hook.told == [("a.pth", 3, True)]
    assert read_checkpoint(tmp_path / "a.pth")["clock"]["step"] == 1


def test_a_write_that_fails_does_not_hide_the_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_with_room(monkeypatch, 3000)

    def fail(stage: Any) -> None:
        raise ValueError("the user's own")

    with pytest.raises(ValueError, match="the user's own") as caught:
        toy_trainer([At(step_1=ask(tmp_path / "a.pth"), step_2=fail)]).train(1)
    assert any("the disk is full" in note for note in caught.value.__notes__)


EXIT = """
import sys, threading, time
from pathlib import Path
from cvtrainer.engine import saving
from cvtrainer.hooks.base import BaseHook
from tests.toy import toy_trainer

class Leave(BaseHook):
    def after_step(self, stage):
        if stage.step == 1:
            stage.trainer.request_save(Path(sys.argv[1]))
        if stage.step == 2:
            raise SystemExit(3)

write = saving.write_checkpoint
def slowly(path, state):
    time.sleep(0.5)
    write(path, state)
saving.write_checkpoint = slowly
trainer = toy_trainer([Leave()])
if sys.argv[2] == "abandoned":  # nobody waits for the write but the interpreter
    trainer._saving.flush_despite = lambda error: None
trainer.train(1)
"""


@pytest.mark.parametrize("how", ["handled", "abandoned"])
def test_the_interpreter_does_not_end_before_the_file_is_whole(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.pth"
    done = subprocess.run([sys.executable, "-c", EXIT, str(path), how], check=False, timeout=100)
    assert done.returncode == 3
    assert read_checkpoint(path)["clock"]["step"] == 1


def test_an_exit_with_nobody_left_still_tells_of_the_failure(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("in the way")
    words = [sys.executable, "-c", EXIT, str(place / "a.pth"), "abandoned"]
    done = subprocess.run(words, check=False, timeout=100, capture_output=True, text=True)
    assert "cannot write here" in done.stderr
    assert "Traceback" not in done.stderr
