"""`cvtrainer eval --artifact` measures exported files; what they decide otherwise can be seen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.deploy.contract import read_contract
from tests.jobs.gate.test_gate import BROKEN
from tests.project import change, enter_project

pytest.importorskip("onnxruntime")
pytest.importorskip("torchao")
pytestmark = pytest.mark.long


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network of which 8 bits lose all channels but one, so that decisions differ."""
    config = enter_project(tmp_path, monkeypatch, broken=BROKEN)
    hooks = [{"type": "apps.toy.broken.Spoil"}, {"type": "CheckpointHook"}]
    change(config, hooks=hooks, epochs=2)
    return cvtrainer.train(config, overrides=["dir=run"]).run


def measured(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["eval", *words, "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    return told


def test_the_metric_of_an_artefact_is_that_of_its_proof_wherever_it_lies(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--precision", "fp32,int8", "--sample", "9", "--max_drop", "1", "--no-ladder"]
    assert main(["export", str(run), *words, "--package"]) == 0
    assert "model-int8.onnx.differing/index.html" in capsys.readouterr().out
    folder = run / "artifacts"
    proof = read_contract(folder / "model-int8.onnx").proof
    assert proof["trained"]["accuracy"] > proof["artefact"]["accuracy"]

    told = measured(capsys, "--artifact", str(folder / "model-int8.onnx"))
    assert told["metrics"]["val/accuracy"] == proof["artefact"]["accuracy"]
    assert told["trained"]["val/accuracy"] == proof["trained"]["accuracy"]
    assert told["agreement"] == proof["agreement"]
    assert (told["samples"], told["split"]) == (9, "val")
    assert len(told["disagreeing"]) == round((1 - told["agreement"]) * 9)

    away = Path("away")
    away.mkdir()
    for file in folder.glob("model-int8.onnx*"):
        if file.is_file():
            shutil.copy(file, away)
    assert main(["eval", "--artifact", str(away / "model-int8.onnx")]) == 2
    assert "the artefact lies in no run" in capsys.readouterr().err
    alone = measured(capsys, "apps/toy/train.yaml", "--artifact", str(away / "model-int8.onnx"))
    assert alone["metrics"] == told["metrics"]
    assert alone["trained"] is None
    assert measured(capsys, "run", "--artifact", str(away / "model-int8.onnx")) == told

    packed = measured(capsys, "--artifact", str(folder / "model.cvt"))
    assert packed["precision"] == "fp32"
    assert packed["metrics"] == packed["trained"] == told["trained"]
    named = measured(capsys, "--artefact", f"{folder / 'model.cvt'}:int8")
    assert (named["precision"], named["metrics"]) == ("int8", told["metrics"])
    assert main(["eval", "--artifact", str(folder / "model.cvt")]) == 0
    assert "decided as the trained model: 100.00%" in capsys.readouterr().out

    _look_at_the_page(folder / "model-int8.onnx.differing", told["disagreeing"])
    assert not (folder / "model-fp32.onnx.differing").exists()


def _look_at_the_page(folder: Path, names: list[str]) -> None:
    """Each sample twice, and what both said."""
    page = (folder / "index.html").read_text()
    assert f"{len(names)} samples are decided otherwise" in page
    for number, name in enumerate(names, 1):
        assert name in page
        for who in ("model", "artefact"):
            picture = Image.open(folder / f"{number:02d}_{who}.png")
            assert picture.width >= 12
            assert f'src="{number:02d}_{who}.png"' in page
    assert page.count("model: {") == page.count("artefact: {") == len(names)


def test_words_that_do_not_fit_are_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale = run / "artifacts" / "model-fp32.onnx.differing"
    stale.mkdir()
    (stale / "01_model.png").touch()
    assert main(["export", str(run)]) == 0
    assert not stale.exists()
    artefact = str(run / "artifacts" / "model-fp32.onnx")
    for words, told in (
        (["--artifact", "no.onnx"], "no such artefact"),
        (["--artifact", artefact, "--split", "train"], "not measured on train. There is val."),
        (["run", "seed=1", "--artifact", artefact], "a run's own config is used as it is"),
        (["run", "run", "--artifact", artefact], "one word too many"),
    ):
        assert main(["eval", *words]) == 2
        assert told in capsys.readouterr().err
