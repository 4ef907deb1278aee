"""Wrong input ends in one line and the right exit code; nothing that was there is lost."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.errors import UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.engine.checkpoint import read_checkpoint
from tests.project import change, write_project


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    config = write_project(tmp_path)
    change(config, epochs=1, logger=["file"], hooks=["CheckpointHook"])
    monkeypatch.chdir(tmp_path)
    return config


def one_line(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    """Run a command that must fail; its whole complaint (that a format was found is none)."""
    capsys.readouterr()
    assert main(list(words)) == code
    told = capsys.readouterr().err.strip().splitlines()
    lines = [line for line in told if " is read as " not in line]
    assert len(lines) == 1, lines
    assert "Traceback" not in lines[0]
    return lines[0]


def test_missing_config(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.yaml" in one_line(capsys, "train", "--config", "nowhere.yaml")


def test_missing_empty_and_one_class_folders(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("train", "--config", "apps/toy/train.yaml")
    shutil.rmtree("data/train/class_1")
    shutil.rmtree("data/train/class_2")
    assert "only one class folder (class_0)" in one_line(capsys, *words)
    shutil.rmtree("data/train/class_0")
    assert "data/train" in one_line(capsys, *words)
    shutil.rmtree("data/train")
    assert "data/train" in one_line(capsys, *words)


def test_an_unreadable_picture_is_named(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/train/class_1/3.png").write_bytes(b"this is no picture")
    assert main(["train", "--config", "apps/toy/train.yaml", "dataloader.train.max_bad=0"]) == 2
    told = capsys.readouterr().err
    assert "data/train/class_1/3.png: not an image" in told
    assert "Traceback" not in told


def test_unreadable_wrong_and_missing_checkpoints(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("eval", "--config", "apps/toy/train.yaml", "--checkpoint")
    assert "none.pth" in one_line(capsys, *words, "none.pth")
    Path("text.pth").write_text("words " * 200)
    assert "text.pth" in one_line(capsys, *words, "text.pth")
    torch.save({"state_dict": {"head.1.weight": torch.ones(9, 9)}}, "shape.pth")
    line = one_line(capsys, *words, "shape.pth")
    assert "head.1.weight is (9, 9), the model has (3, 8)" in line
    assert "no checkpoint" in one_line(capsys, *words[:-1])
    resume = ("train", "--config", "apps/toy/train.yaml", "--resume")
    assert "shape.pth" in one_line(capsys, *resume, "shape.pth")


def test_a_truncated_checkpoint_falls_back_and_says_so(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--config", "apps/toy/train.yaml", "dir=run"]
    assert main([*words, "stages.train.epochs=3"]) == 0
    folder = Path("run/checkpoints")
    expected = read_checkpoint(folder / "checkpoint_epoch_3.pth")["networks"]["model"]
    newest = folder / "checkpoint_epoch_3.pth"
    newest.write_bytes(newest.read_bytes()[:500])
    for wanted in ("auto", str(newest)):
        capsys.readouterr()
        assert main([*words, "stages.train.epochs=3", "--resume", wanted]) == 0
        said = capsys.readouterr().err
        assert "checkpoint_epoch_3.pth" in said
        again = read_checkpoint(newest)["networks"]["model"]
        assert all(torch.equal(value, again[name]) for name, value in expected.items())
        newest.write_bytes(newest.read_bytes()[:500])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_where_there_is_none(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = one_line(capsys, "train", "--config", "apps/toy/train.yaml", "device=cuda")
    assert "cuda" in line
    assert "device: cpu" in line


def test_a_place_that_cannot_be_written(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("not a folder")
    words = ("train", "--config", "apps/toy/train.yaml")
    assert "file/out" in one_line(capsys, *words, "dir=file/out")
    change(toy, hooks=[{"type": "CheckpointHook", "kwargs": {"save_dir": "file/kept"}}])
    assert "file/kept" in one_line(capsys, *words, "dir=run")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_read_only_folder(toy: Path) -> None:
    for folder in (toy.parent, *toy.parents):
        if "pytest" in str(folder) and folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(UserError, match=r"cannot write here \(permission denied\)"):
            RunFolder.create("p", "n", Path("run"))
    finally:
        os.seteuid(0)


def test_disk_full_while_saving_ends_the_run_and_keeps_the_old_file(
    toy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["train", "--config", "apps/toy/train.yaml", "dir=run"]
    assert main([*words, "stages.train.epochs=1"]) == 0
    kept = Path("run/checkpoints/checkpoint_epoch_1.pth")
    content = kept.read_bytes()
    real = os.fsync

    def full(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(".part"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("cvtrainer.core.files.os.fsync", full)
    more = ("--resume", "auto", "stages.train.epochs=3")
    capsys.readouterr()
    assert main([*words, *more]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert "the disk is full" in said[-1]
    assert sum("Traceback" in line for line in said) == 0
    assert kept.read_bytes() == content
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]
    monkeypatch.undo()
    monkeypatch.chdir(toy.parents[2])
    assert main([*words, *more]) == 0


def test_an_exception_in_the_users_code_keeps_its_traceback(
    toy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = toy.parent / "model.py"
    model.write_text(model.read_text().replace("return self.head", "return 1 / 0 + self.head"))
    assert main(["train", "--config", "apps/toy/train.yaml"]) == 1
    said = capsys.readouterr().err
    assert "ZeroDivisionError" in said
    assert "apps/toy/model.py" in said


def test_ctrl_c_saves_and_resume_goes_on(toy: Path) -> None:
    interrupter = (
        "import os, signal\n"
        "from cvtrainer.hooks.base import BaseHook\n\n\n"
        "class Interrupter(BaseHook):\n"
        "    def after_step(self, stage):\n"
        "        if stage.step == 7 and os.path.exists('once'):\n"
        "            os.remove('once')\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
    )
    (toy.parent / "interrupter.py").write_text(interrupter)
    change(toy, epochs=3, hooks=["apps.toy.interrupter.Interrupter", "CheckpointHook"])
    whole = cvtrainer.train(toy, overrides=["dir=whole"])
    Path("once").touch()
    words = ["train", "--config", str(toy), "dir=cut"]
    assert main(words) == 130
    assert "step 7; saved, go on with --resume auto" in Path("cut/train.log").read_text()
    assert read_checkpoint(Path("cut/checkpoints/last.pth"))["clock"]["step"] == 7
    assert main([*words, "--resume", "auto"]) == 0
    for name, value in states(whole.run)["networks"]["model"].items():
        assert torch.equal(value, states(Path("cut"))["networks"]["model"][name])


def states(run: Path) -> dict[str, Any]:
    return read_checkpoint(run / "checkpoints" / "checkpoint_epoch_3.pth")
