"""An 8-bit artefact that misses its limit is treated, or refused, and the pages say how."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.contract import Contract, Port, read_contract, write_contract
from cvtrainer.deploy.quantize.ladder import Rung, Score, Tried
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quantize.sensitivity import Sensitivity
from cvtrainer.jobs.export.ladder import Doctor
from cvtrainer.jobs.export.limits import Limits
from cvtrainer.jobs.export.proof import Proof
from cvtrainer.jobs.export.wanted import Exported
from tests.project import enter_project

pytestmark = pytest.mark.long


MODEL = """
import torch
from torch import nn


class TinyNet(nn.Module):
    def __init__(self, num_classes=3):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, num_classes)
        self.wide = nn.Linear(2, num_classes, bias=False)
        self.wide.weight.data.zero_()
        self.wide.weight.requires_grad_(False)

    def forward(self, x):
        features = self.body(x).mean((2, 3))
        wide = 3000 * features[:, :2]
        return torch.cat((features, wide), 1) @ torch.cat(
            (self.head.weight, self.wide.weight), 1
        ).T + self.head.bias
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A short run of a network that joins features 3,000 times as large as the others."""
    config = enter_project(tmp_path, monkeypatch)
    Path("apps/toy/model.py").write_text(MODEL)
    words = ["dir=run", "stages.train.epochs=8"]
    return cvtrainer.train(config, overrides=words).run


def test_treated_until_it_is_proven(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(run), "--precision", "int8", "--sample", "18", "--max_drop", "0.05"]
    assert main([*words, "--no-ladder", "--out", "plain"]) == 1
    assert main(words) == 0
    said = capsys.readouterr()
    assert "proven on 9 samples" in said.out
    artefact = run / "artifacts" / "model-int8.onnx"
    rungs = read_contract(artefact).proof["ladder"]
    made = read_contract(artefact).made
    ended = (rungs[-1]["rung"], rungs[-1]["scheme"]["method"])
    assert (made["rung"], made["calibrator"]) == ended
    assert rungs[0]["rung"] == "as asked"
    assert [one["passes"] for one in rungs] == [False] * (len(rungs) - 1) + [True]
    told = json.loads(artefact.with_name("model-int8.onnx.doctor.json").read_text())
    assert told["proven"]
    assert told["rungs"] == rungs
    assert f"rung {len(rungs)}, {rungs[-1]['rung']}: " in said.err
    assert rungs[0]["scheme"]["method"] == "mse"
    page = artefact.with_name("model-int8.onnx.doctor.md").read_text()
    assert "Scheme of the last rung: method " in page
    assert main([*words[:-1], "1"]) == 0  # passes at once: the pages spoke of another artefact
    assert not list((run / "artifacts").glob("*.doctor.*"))


def test_refused_with_all_that_was_tried(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(run), "--precision", "int8", "--sample", "9", "--max_drop", "-0.5"]
    assert main(words) == 1
    told = capsys.readouterr().err
    assert "rung 2, weights per tensor: accuracy" in told
    assert "rungs passes" in told
    names = {path.name for path in (run / "artifacts").iterdir()}
    assert names == {
        "model-int8.onnx.unproven",
        "model-int8.onnx.contract.json",
        "model-int8.onnx.differing",
        "model-int8.onnx.doctor.json",
        "model-int8.onnx.doctor.md",
    }
    page = (run / "artifacts" / "model-int8.onnx.doctor.md").read_text()
    assert page.startswith("# model-int8.onnx: not proven")
    assert "| bias correction | " in page
    assert " dB |" in page


class OneRung:
    """A ladder whose second rung passes."""

    def __init__(self) -> None:
        self.tried: list[Tried] = []
        self.sensitive: list[Sensitivity] = []

    def passing(self, scheme: Scheme, score: Score) -> Iterator[str]:
        self.tried.append(Tried(Rung("as asked", scheme), score))
        good = Score({"accuracy": 0.9}, 0.1, True, "accuracy")
        self.tried.append(Tried(Rung("weights per tensor", scheme), good))
        yield "program"


def test_a_file_that_is_not_its_program_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model-int8.onnx.unproven"
    path.write_bytes(b"")
    port = Port("x", "float32", (1, 3))
    contract = Contract("onnx", "int8", port, (port,), InputSpec(), proof={"proven": False})
    write_contract(path, contract)
    proof = Proof(9, trained={"accuracy": 0.9}, artefact={"accuracy": 0.1})
    proof.worse = {"accuracy": 0.8}
    done = Exported("onnx", "int8", path, path, proof, ["accuracy is 0.1"])
    doctor = Doctor(OneRung(), Scheme(), Limits("int8"))
    made = doctor.treated(done, lambda _: done)
    told = "weights per tensor passes as a program and not as the file: the runtime computes other"
    assert told in made.failures[-1]
    page = (tmp_path / "model-int8.onnx.doctor.md").read_text()
    assert "| weights per tensor | 0.9000 | yes | 0.10 (accuracy) |" in page
    assert "| weights per tensor, the file | 0.1000 | no | 160.00 (accuracy) |" in page


def test_without_the_ladder_nothing_is_tried(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(run), "--precision", "int8", "--sample", "9", "--no-ladder"]
    assert main([*words, "--max_drop", "-0.5"]) == 1
    assert "rung" not in capsys.readouterr().err
    assert not list((run / "artifacts").glob("*.doctor.*"))
