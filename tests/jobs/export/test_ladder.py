"""An 8-bit artefact that misses its limit is treated, or refused, and the pages say how."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.deploy.contract import read_contract
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
    assert rungs[0]["rung"] == "as asked"
    assert [one["passes"] for one in rungs] == [False] * (len(rungs) - 1) + [True]
    told = json.loads(artefact.with_name("model-int8.onnx.doctor.json").read_text())
    assert told["proven"]
    assert told["rungs"] == rungs
    assert f"rung {len(rungs)}, {rungs[-1]['rung']}: " in said.err
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


def test_without_the_ladder_nothing_is_tried(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(run), "--precision", "int8", "--sample", "9", "--no-ladder"]
    assert main([*words, "--max_drop", "-0.5"]) == 1
    assert "rung" not in capsys.readouterr().err
    assert not list((run / "artifacts").glob("*.doctor.*"))
