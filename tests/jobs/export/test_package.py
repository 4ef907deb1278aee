"""A run becomes one file that predicts as the run does, where torch is not installed too."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.deploy.package.archive import open_archive
from tests.project import enter_project

pytestmark = pytest.mark.long

INSTALLED = ("numpy", "pillow", "onnxruntime")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short run of a classifier; pictures of 16 px that evaluation makes 12."""
    config = enter_project(tmp_path, monkeypatch)
    return cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=2"]).run


@pytest.fixture
def without_torch(tmp_path: Path, root: Path) -> Path:
    """A virtual environment's Python with cvtrainer and the three packages, and nothing else."""
    home = tmp_path / "bare"
    command = [sys.executable, "-m", "venv", "--without-pip", str(home)]
    subprocess.run(command, check=True, env=_bare_environment())
    (packages,) = home.glob("lib/python*/site-packages")
    for name in INSTALLED:
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or ()} - {".."}:
            (packages / top).symlink_to(str(distribution.locate_file(top)))
    (packages / "cvtrainer").symlink_to(root / "cvtrainer")
    return home / "bin" / "python"


def test_one_file_predicts_as_the_run_does_with_and_without_torch(
    run: Path, without_torch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--package"]) == 0
    package = run / "artifacts" / "model.cvt"
    assert f"wrote {package.as_posix()}" in capsys.readouterr().out
    photos = "data/val"
    trained = cvtrainer.load(run).predict(photos)
    here = cvtrainer.load(package).predict(photos)
    assert len(trained) == 9
    _same(here, trained)

    refused = [str(without_torch), "-c", "import torch"]
    done = subprocess.run(
        refused, capture_output=True, text=True, check=False, env=_bare_environment()
    )
    assert "No module named 'torch'" in done.stderr
    drawn = ["--out", "bare", "--draw"]
    assert main(["predict", "--run", str(run), photos, "--out", "own", "--draw"]) == 0
    capsys.readouterr()
    words = ["-m", "cvtrainer", "predict", str(package), photos, "--json", "told.jsonl", *drawn]
    told = subprocess.run(
        [str(without_torch), *words],
        capture_output=True,
        text=True,
        check=False,
        env=_bare_environment(),
    )
    assert told.returncode == 0, told.stderr
    assert "drew 9 pictures" in told.stdout
    _same([json.loads(line) for line in Path("told.jsonl").read_text().splitlines()], trained)
    for file in Path("own/pictures").glob("*.png"):
        assert (Path("bare/pictures") / file.name).read_bytes() == file.read_bytes()
    code = (
        "import sys, json, cvtrainer; "
        f"told = cvtrainer.load({str(package)!r}).predict({photos!r}); "
        "print(json.dumps(told)); "
        "tops = {name.split('.')[0] for name in sys.modules}; "
        "print(sorted(tops & {'yaml', 'cv2', 'simplejpeg', 'torch'}))"
    )
    called = subprocess.run(
        [str(without_torch), "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=_bare_environment(),
    )
    assert called.returncode == 0, called.stderr
    answers, imported = called.stdout.splitlines()
    _same(json.loads(answers), trained)
    assert imported == "[]"


def test_everything_that_belongs_to_the_model_is_in_it(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--precision", "fp32,int8", "--sample", "9", "--max_drop", "1"]
    assert main(["export", str(run), *words, "--package", "given/tiny.cvt"]) == 0
    archive = open_archive(Path("given/tiny.cvt"))
    names = [f"model-{precision}.onnx" for precision in ("fp32", "int8")]
    assert set(archive.parts) == {
        "manifest.json",
        "card.md",
        "labels.json",
        "metrics.json",
        "config.yaml",
        "weights.safetensors",
        *(f"artefacts/{name}" for name in names),
        *(f"artefacts/{name}.contract.json" for name in names),
    }
    assert zipfile.ZipFile("given/tiny.cvt").testzip() is None
    weights = load(archive.read("weights.safetensors"))
    state = cvtrainer.load(run).network.state_dict()
    assert set(weights) == set(state)
    assert all(weights[name].equal(value) for name, value in state.items())
    card = archive.read("card.md").decode()
    for words_of_card in ("classification", "`class_0`", "model-int8.onnx", "12 x 12", "accuracy"):
        assert words_of_card in card
    Path("again.yaml").write_bytes(archive.read("config.yaml"))
    assert main(["config", "check", "again.yaml"]) == 0
    capsys.readouterr()
    assert cvtrainer.load("given/tiny.cvt", artefact="int8").contract.precision == "int8"


def test_what_is_not_proven_is_not_packed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run), "--max_drop", "-0.5", "--package", "model.cvt"]) == 1
    assert "in no package, being not proven: model-" in capsys.readouterr().err
    assert not Path("model.cvt").exists()


def _same(made: list[dict[str, Any]], trained: list[dict[str, Any]]) -> None:
    """The same files in the same order, and the same of each; shares to their rounding."""
    assert [one["file"] for one in made] == [one["file"] for one in trained]
    assert [one["class"] for one in made] == [one["class"] for one in trained]
    for ours, theirs in zip(made, trained, strict=True):
        assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-4)


def _bare_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
