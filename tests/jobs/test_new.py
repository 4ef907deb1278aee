"""`cvtrainer new`: what it writes, where it refuses, and that it trains at once."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from cvtrainer.cli import main
from cvtrainer.core.compile import compile_config
from cvtrainer.core.errors import UserError
from cvtrainer.jobs.new import create_project


def class_folders(place: Path, count: int = 4) -> None:
    """Two classes of small pictures that differ in brightness."""
    random = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 155)):
        folder = place / name
        folder.mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(low, low + 100, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")


def cvtrainer(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line in the current folder."""
    line = [sys.executable, "-m", "cvtrainer.cli", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_own_pictures_give_configs_that_check(here: Path) -> None:
    """The data folder's classes are counted and both configs have no errors."""
    class_folders(here / "photos" / "train")
    class_folders(here / "photos" / "val", count=2)
    project = create_project("night", data=Path("photos"))
    names = [path.name for path in project.files]
    assert names == ["model.py", "train.yaml", "eval.yaml"]
    for name in ("train.yaml", "eval.yaml"):
        stage = compile_config(project.folder / name).resolved["stages"][0]
        assert stage["model"]["kwargs"]["num_classes"] == 2
        dataset = stage["dataloader"]["val"]["dataset"]
        assert dataset["kwargs"]["data_path"] == "photos/val"


def test_pictures_without_a_split_are_divided(here: Path) -> None:
    """Class folders alone are enough: a part of each class is kept for validation, and told."""
    class_folders(here / "photos", count=10)
    project = create_project("night", data=Path("photos"))
    assert [path.name for path in project.files] == ["model.py", "train.yaml", "eval.yaml"]
    assert "a fifth of each class is kept" in project.notes[0]
    config = "apps/night/train.yaml"
    words = ["epochs=1", "dataloader.train.dataloader_args.num_workers=0"]
    assert main(["train", "--config", config, *words]) == 0
    log = (here / "apps/night/logs/train.log").read_text(encoding="utf-8")
    assert "samples: train 16, val 4" in log
    assert main(["eval", "--config", "apps/night/eval.yaml"]) == 0


def test_a_class_without_pictures_is_named(here: Path) -> None:
    """Before anything is written, with the folder that is empty."""
    class_folders(here / "photos")
    (here / "photos" / "red").mkdir()
    (here / "photos" / "red" / "notes.txt").write_text("later")
    with pytest.raises(UserError, match="photos/red: no picture of this class"):
        create_project("night", data=Path("photos"))
    assert not (here / "apps").exists()


@pytest.mark.parametrize(
    ("name", "word"),
    [("my-project", "my_project"), ("class", "project_class"), ("3d", "project_3d")],
)
def test_a_name_that_cannot_be_imported_is_refused(here: Path, name: str, word: str) -> None:
    """Configs import from the project, so its name must be one that Python can import."""
    with pytest.raises(UserError, match=word):
        create_project(name)
    assert not (here / "apps").exists()


def test_nothing_is_overwritten(here: Path) -> None:
    """A project that exists is left alone."""
    mine = here / "apps" / "night" / "model.py"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="not empty"):
        create_project("night")
    assert mine.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("folders", [[], ["only"]])
def test_a_data_folder_without_classes_is_refused(here: Path, folders: list[str]) -> None:
    """Fewer than two classes cannot be told apart; nothing is written."""
    (here / "photos").mkdir()
    for name in folders:
        (here / "photos" / name).mkdir()
    with pytest.raises(UserError, match="class folder"):
        create_project("night", data=Path("photos"))
    assert not (here / "apps").exists()


@pytest.mark.long
@pytest.mark.seed("S0-110")
def test_a_new_project_trains_and_evaluates_at_once(here: Path) -> None:
    """Without any data of one's own: new, train, eval, three commands."""
    made = cvtrainer("new", "shapes")
    assert made.returncode == 0, made.stderr
    assert "cvtrainer train --config apps/shapes/train.yaml" in made.stdout
    config = "apps/shapes/train.yaml"
    short = ["stages.train.epochs=1"]
    trained = cvtrainer("train", "--config", config, *short)
    assert trained.returncode == 0, trained.stderr
    assert (here / "apps/shapes/checkpoints/best_model.pth").is_file()
    assert (here / "apps/shapes/logs/train.log").read_text(encoding="utf-8").strip()
    evaluated = cvtrainer("eval", "--config", "apps/shapes/eval.yaml")
    assert evaluated.returncode == 0, evaluated.stderr
    assert "accuracy" in evaluated.stdout


def test_written_files_are_plain_yaml(here: Path) -> None:
    """What is written is read by any YAML reader."""
    class_folders(here / "photos")
    project = create_project("night", data=Path("photos"))
    text = (project.folder / "train.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["project"] == "night"
    assert "$" not in text


@pytest.mark.parametrize(
    ("given", "said"),
    [("photos.txt", "this is a file"), ("above", "Did you mean above/photos?")],
)
def test_data_that_is_elsewhere_is_told_where(here: Path, given: str, said: str) -> None:
    """A file, and a folder whose only folder holds the classes."""
    (here / "photos.txt").touch()
    class_folders(here / "above" / "photos")
    with pytest.raises(UserError, match=re.escape(said)):
        create_project("night", data=Path(given))
