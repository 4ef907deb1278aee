"""What somebody new types: folders instead of files, runs instead of checkpoints, no data."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvtrainer.cli import main
from tests.project import change, enter_project


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one short run."""
    config = enter_project(tmp_path, monkeypatch)
    change(config, epochs=1, logger=["file"], hooks=["checkpoint"])
    assert main(["train", "--config", str(config)]) == 0
    (run,) = Path("runs/toy").iterdir()
    return run


def line(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 2
    (told,) = capsys.readouterr().err.strip().splitlines()
    return told


def test_a_folder_that_is_nearly_the_right_one(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line names the path that was meant."""
    asked = line(capsys, "train", "--config", "apps/toy")
    assert "is a folder, not a config file. Give apps/toy/train.yaml." in asked
    asked = line(capsys, "predict", "--run", "runs/toy", "data")
    assert f"runs/toy: this is a folder of runs, not a run. The newest is {trained}." in asked
    asked = line(capsys, "ckpt", "show", str(trained))
    assert f"its newest checkpoint is {trained}/checkpoints/checkpoint_epoch_1.pth" in asked


def test_nothing_to_train_on(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    place = "dataloader.train.dataset.data_path=empty"
    asked = line(capsys, "train", "--config", "apps/toy/train.yaml", place)
    assert asked == "empty: this folder is empty. Put data there."


def test_only_unreadable_pictures(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends soon, with a file, a reason and what to run."""
    for picture in Path("data/train").rglob("*.png"):
        picture.write_bytes(b"x")
    capsys.readouterr()
    assert main(["train", "--config", "apps/toy/train.yaml", "dir=again"]) in (1, 2)
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "data/train/class_" in told.splitlines()[-1] or "bad" in told.splitlines()[-1]
    assert "unpack" not in told
