"""Checkpoint files: whole or absent, damage is noticed and named, the one before is used."""

from __future__ import annotations

import errno
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.engine.checkpoint import (
    DamagedCheckpointError,
    move_strangers_aside,
    read_checkpoint,
    read_or_before,
    write_checkpoint,
)
from tests.engine.faults import disk_with_room

STATE = {"weights": torch.arange(2000.0), "epoch": 3, "names": ["a", "b"]}


def written(folder: Path, name: str = "a.pth", **more: Any) -> Path:
    path = folder / name
    write_checkpoint(path, {**STATE, **more})
    return path


def test_round_trip_and_plain_torch_reads_it(tmp_path: Path) -> None:
    path = written(tmp_path)
    ours = read_checkpoint(path)
    plain = torch.load(path, weights_only=True)
    for state in (ours, plain):
        assert torch.equal(state["weights"], STATE["weights"])
        assert state["epoch"] == 3
        assert state["names"] == ["a", "b"]


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    for length in (0, 1, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DamagedCheckpointError, match=r"a\.pth"):
            read_checkpoint(path)


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    draw = random.Random(0)
    for _ in range(60):
        place = draw.randrange(len(content))
        damaged = bytearray(content)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(damaged))
        with pytest.raises(UserError):
            read_checkpoint(path)


def test_the_one_before_a_damaged_file_is_used_and_said(tmp_path: Path) -> None:
    for number in range(3):
        path = written(tmp_path, f"checkpoint_epoch_{number}.pth", epoch=number)
        os.utime(path, (number, number))
    newest = tmp_path / "checkpoint_epoch_2.pth"
    newest.write_bytes(newest.read_bytes()[:-100])
    os.utime(newest, (2, 2))
    said: list[str] = []
    path, state = read_or_before(newest, said.append)
    assert path.name == "checkpoint_epoch_1.pth"
    assert state["epoch"] == 1
    assert len(said) == 1
    assert "checkpoint_epoch_2.pth" in said[0]
    assert "checkpoint_epoch_1.pth" in said[0]


def test_nothing_before_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UserError, match="no whole checkpoint before it"):
        read_or_before(path, lambda text: None)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such checkpoint"):
        read_checkpoint(tmp_path / "none.pth")
    text = tmp_path / "text.pth"
    text.write_text("hello " * 100)
    with pytest.raises(UserError, match=r"text\.pth"):
        read_checkpoint(text)
    foreign = tmp_path / "foreign.pth"
    torch.save({"state_dict": {"w": torch.ones(2)}}, foreign)
    assert torch.equal(read_checkpoint(foreign)["state_dict"]["w"], torch.ones(2))


def test_full_disk_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UserError, match="disk is full"):
        written(tmp_path, epoch=4)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["a.pth"]


def test_a_disk_that_fills_up_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path)
    before = path.read_bytes()

    disk_with_room(monkeypatch, 3000)
    with pytest.raises(RunFailed, match="disk is full"):
        written(tmp_path, epoch=4)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["a.pth"]


def test_strangers_are_moved_aside_and_own_files_stay(tmp_path: Path) -> None:
    written(tmp_path, "mine.pth", run_id="one", stage="train")
    written(tmp_path, "earlier_stage.pth", run_id="one", stage="warm")
    written(tmp_path, "theirs.pth", run_id="two", stage="train")
    written(tmp_path, "pretrained.pth")
    said: list[str] = []
    names = re.compile(r"mine\.pth|.*stage\.pth|theirs\.pth")
    move_strangers_aside(tmp_path, names, run_id="one", stage="train", say=said.append)
    assert (tmp_path / "pretrained.pth").is_file()
    assert (tmp_path / "mine.pth").is_file()
    assert (tmp_path / "warm" / "earlier_stage.pth").is_file()
    assert (tmp_path / "run_two" / "theirs.pth").is_file()
    assert len(said) == 2
