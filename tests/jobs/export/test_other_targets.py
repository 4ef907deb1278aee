"""Exports for targets that round themselves or do not run here, by the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.deploy.contract import read_contract
from tests.project import enter_project

pytestmark = pytest.mark.long
pytest.importorskip("coremltools")
pytest.importorskip("ncnn")
pytest.importorskip("pnnx")


@pytest.mark.seed("S4-25", "S4-37", "S4-41")
def test_what_is_not_run_is_never_called_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    run = cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=1"]).run
    capfd.readouterr()
    words = ["--target", "ncnn,coreml", "--package"]
    assert main(["export", str(run), *words]) == 3
    out, err = capfd.readouterr()
    assert "proven on 9 samples, from file bytes: run/artifacts/model-fp32.ncnn" in out
    assert "converted, not run here: run/artifacts/model-fp32.mlpackage (operators: " in out
    assert out.count("proven") == 1
    told = err.splitlines()
    assert told[-1].startswith("in no package, being not proven: model-")
    assert all(line.startswith("val: ") for line in told[:-1]), err
    proof = read_contract(run / "artifacts" / "model-fp32.mlpackage").proof
    assert (proof["proven"], proof["ran"], proof["checked"]["layers"]) == (False, False, 2)
    assert "agreement" not in proof
    package = cvtrainer.load(run / "artifacts" / "model.cvt")
    assert package.contract.target == "ncnn"
    assert [one.get("class") for one in package.predict("data/val/class_0")]
    eight = ["--target", "tensorrt", "--precision", "int8", "--sample", "9", "--max_drop", "1"]
    assert main(["export", str(run), *eight]) == 3
    assert "metrics: the ONNX file's, by ONNX Runtime" in capfd.readouterr().out
    proof = read_contract(run / "artifacts" / "model-int8.tensorrt").proof
    assert (proof["proven"], proof["ran"], proof["samples"]) == (False, False, 9)
    assert "--int8" in proof["checked"]["command"]
    assert main(["export", str(run), "--target", "tensorrt", "--max_drop", "-0.5"]) == 1
    assert "not proven, run/artifacts/model-fp32.tensorrt.unproven: " in capfd.readouterr().err
    assert main(["export", str(run), "--target", "onnx,ncnn", "--precision", "int8"]) == 2
    assert "ncnn has no int8. It has fp32, fp16." in capfd.readouterr().err


def test_the_rungs_of_a_target_that_rounds_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("litert_torch")
    config = enter_project(tmp_path, monkeypatch)
    run = cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=1"]).run
    capfd.readouterr()
    words = ["--target", "litert,ncnn", "--int8", "--sample", "9", "--max_drop", "-1"]
    assert main(["export", str(run), *words]) == 1
    told = capfd.readouterr().err
    assert "ncnn has no int8; it has fp32, fp16" in told
    for rung in ("1, as asked", "2, weights per tensor", "3, calibrator max"):
        assert f"rung {rung}: accuracy " in told
    artefact = run / "artifacts" / "model-int8.tflite.unproven"
    contract = read_contract(artefact)
    assert [one["rung"] for one in contract.proof["ladder"]][-1] == "calibrator entropy"
    assert (run / "artifacts" / "model-int8.tflite.doctor.md").is_file()
    assert "none of 5 rungs passes" in told
