"""A run that goes on with another deploy block."""

from __future__ import annotations

from pathlib import Path

import pytest

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.engine.checkpoint import read_checkpoint
from tests.project import change, enter_project

pytest.importorskip("onnxruntime")
pytest.importorskip("torchao")


@pytest.mark.long
def test_the_best_of_another_block_does_not_stay_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights hardly move, so no later artefact is better in numbers."""
    config = enter_project(tmp_path, monkeypatch)
    gate = {"precision": "fp32", "max_drop": 1.0, "sample": 9}
    still = {"type": "SGD", "kwargs": {"lr": 1e-12}}
    change(config, deploy=gate, hooks=["checkpoint"], optimizer=still, epochs=1)
    run = cvtrainer.train(config, overrides=["dir=run"]).run
    assert (run / "artifacts/best/model-fp32.onnx").is_file()

    words = ["train", str(config), "dir=run", "--resume", "auto"]
    change(config, deploy={**gate, "precision": "int8"}, epochs=2)
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "deploy: the block has changed, so what was best counts no more" in told
    assert (run / "artifacts/best/model-int8.onnx").is_file()
    assert not (run / "artifacts/best/model-fp32.onnx").exists()
    assert (run / "artifacts/earlier/model-fp32.onnx").is_file()
    assert read_checkpoint(run / "checkpoints/best_model.pth")["clock"]["epoch"] == 2

    change(config, epochs=3)
    assert main(words) == 0
    assert "the block has changed" not in capsys.readouterr().out
