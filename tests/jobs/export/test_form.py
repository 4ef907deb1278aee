"""Artefacts that take bytes, and artefacts whose outputs are read in the graph or on the host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import read_contract
from cvtrainer.deploy.targets.target import targets_named
from cvtrainer.jobs.export import Form
from tests.deploy.package.made import write
from tests.project import enter_project


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short run of a classifier; pictures of 16 px that evaluation makes 12."""
    config = enter_project(tmp_path, monkeypatch)
    return cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=1"]).run


@pytest.mark.long
@pytest.mark.seed("S4-24")
def test_bytes_are_prepared_in_the_graph_in_both_precisions_and_in_the_package(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["--precision", "fp32,int8", "--sample", "9", "--max_drop", "1"]
    trained = cvtrainer.load(run).predict("data/val")
    for takes, shape, words in (
        ("uint8", (None, 12, 12, 3), both),
        ("picture", (None, None, None, 3), []),
    ):
        assert main(["export", str(run), "--input", takes, *words, "--package", "--top=2"]) == 0
        precisions = ("fp32", "int8") if words else ("fp32",)
        assert capsys.readouterr().out.count("proven on 9 samples") == len(precisions)
        for precision in precisions:
            contract = read_contract(run / "artifacts" / f"model-{precision}.onnx")
            assert (contract.takes, contract.input.dtype) == (takes, "uint8")
            assert contract.input.shape == shape
            ports = {port.name: port.shape for port in contract.outputs}
            assert ports["top_classes"] == ports["top_probabilities"] == (None, 2)
        model = cvtrainer.load(run / "artifacts" / "model.cvt")
        told = model.predict("data/val", arrays=True)
        assert [one["class"] for one in told] == [one["class"] for one in trained]
        limit = 1e-4 if takes == "uint8" else 0.02
        for ours, theirs in zip(told, trained, strict=True):
            assert ours["probability"] == pytest.approx(theirs["probability"], abs=limit)
            best = np.argsort(-ours["outputs"]["probabilities"], kind="stable")[:2]
            assert np.array_equal(ours["outputs"]["top_classes"], best)
        odd = np.random.default_rng(0).integers(0, 256, (9, 40, 3), dtype=np.uint8)
        Image.fromarray(odd).save("odd.png")
        several = model.predict(["odd.png", "data/val/class_0/0.png", "odd.png"])
        assert several[0]["probability"] == several[2]["probability"]
        (by_run,) = cvtrainer.load(run).predict("odd.png")
        assert several[0]["class"] == by_run["class"]
        with pytest.raises(UserError, match="takes pictures, and this is ready-made numbers"):
            model.predict(np.zeros((3, 12, 12), np.float32))


@pytest.mark.long
def test_outputs_are_read_on_the_host_where_that_is_wanted(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--decode", "host", "--package"]) == 0
    assert "proven on 9 samples" in capsys.readouterr().out
    contract = read_contract(run / "artifacts" / "model-fp32.onnx")
    assert [port.name for port in contract.outputs] == ["output"]
    told = cvtrainer.load(run / "artifacts" / "model.cvt").predict("data/val")
    trained = cvtrainer.load(run).predict("data/val")
    assert [one["class"] for one in told] == [one["class"] for one in trained]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"takes": "uint"}, r"--input: 'uint' is none of .*; did you mean uint8\?"),
        ({"decode": "device"}, "--decode: 'device' is none of graph, host"),
        ({"top": 0}, "--top: 0 classes"),
        ({"top": 2, "decode": "host"}, "Leave out --decode host"),
    ],
)
def test_a_form_that_cannot_be_is_told(given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Form(**given)


def test_a_call_that_exports_nothing_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = write(tmp_path / "model.cvt")
    for words, message in (
        ([str(package)], "a package is made by an export. Give the run it came from."),
        (["run", "--target", ","], "--target: no target is named. Choose of "),
        ([str(tmp_path / "nowhere")], "nowhere: no such checkpoint"),
    ):
        assert main(["export", *words]) == 2
        told = capsys.readouterr().err.strip().splitlines()
        assert len(told) == 1
        assert message in told[0]
    assert [one.name for one in targets_named(["onnx", "onnx"])] == ["onnx"]
