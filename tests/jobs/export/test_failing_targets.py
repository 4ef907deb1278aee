"""Targets that cannot do everything: what was made before stays whole, and is told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

import cvtrainer
from cvtrainer.cli import main
from cvtrainer.core.errors import UserError
from cvtrainer.deploy.contract import read_contract
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.targets.onnx import OnnxTarget
from cvtrainer.deploy.targets.target import TARGETS
from tests.project import enter_project

pytest.importorskip("onnxruntime")


class Moody(OnnxTarget):
    """Writes floats for 8 bits, and nothing at all with the last calibrator."""

    capabilities = replace(OnnxTarget.capabilities, suffix=".moody", own_int8=True)

    def export_quantised(
        self, program: Program, sample: Iterable[Tensor], scheme: Scheme, path: Path
    ) -> None:
        if scheme.method == "entropy":
            raise UserError("no entropy here")
        self.export(program, path)


class Never(OnnxTarget):
    def export(self, program: Program, path: Path) -> None:
        raise UserError("never")


@pytest.mark.long
def test_what_cannot_be_written_takes_nothing_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = enter_project(tmp_path, monkeypatch)
    run = cvtrainer.train(config, overrides=["dir=run", "stages.train.epochs=1"]).run
    for kind in (Moody, Never):
        monkeypatch.setitem(TARGETS, kind.__name__.lower(), f"{__name__}:{kind.__name__}")

    words = ["--target", "moody", "--precision", "int8", "--max_drop", "-0.5", "--sample", "3"]
    assert main(["export", str(run), *words, "--out", "moody"]) == 1
    assert "calibrator entropy: no entropy here" in capsys.readouterr().err
    assert (Path("moody") / "model-int8.moody.unproven").is_file()

    assert main(["export", str(run), "--target", "onnx,never", "--out", "both"]) == 2
    contract = read_contract(Path("both") / "model-fp32.onnx")
    assert contract.proof["proven"] is True
    assert contract.plan is not None

    # what nobody has judged does not lie beside the contract of what was proven before
    assert main(["export", str(run), "--max_drop", "acc=1", "--out", "both"]) == 2
    assert not list(Path("both").glob("*.unproven"))
    assert (Path("both") / "model-fp32.onnx").is_file()
