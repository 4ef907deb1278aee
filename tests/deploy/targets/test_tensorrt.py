"""TensorRT folders: a graph that its builder takes, and the command that builds the engine."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.artefact import files_of
from cvtrainer.deploy.program import Deployable, Program, captured
from cvtrainer.deploy.quantize.ptq import quantised
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.targets.target import (
    CheckingTarget,
    QuantisingTarget,
    rounds_itself,
    target_named,
)
from tests.deploy.targets.decided import decibels, decisions, expected
from tests.deploy.targets.small import RAW, pictures, program

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
SHAPES = "--minShapes=x:1x3x32x32 --optShapes=x:8x3x32x32 --maxShapes=x:32x3x32x32"
BUILD = "trtexec --onnx=model.onnx --saveEngine=model.engine"


def float_program(kind: str) -> Program:
    return program(kind).narrowed(RAW[kind], any_batch=True)


def rounded_program(*, symmetric: bool) -> Program:
    made = quantised(program("classifier"), [pictures(8)], Scheme(symmetric=symmetric))
    return made.narrowed(RAW["classifier"], any_batch=True)


@pytest.mark.long
@pytest.mark.seed("S4-25", "S4-41")
@pytest.mark.parametrize(
    ("precision", "flag"), [("fp32", "--noTF32"), ("fp16", "--fp16"), ("int8", "--int8")]
)
def test_the_command_is_written_and_the_graph_decides_as_the_network(
    precision: str, flag: str, tmp_path: Path
) -> None:
    target = cast(CheckingTarget, target_named("tensorrt"))
    kind = "detector" if precision == "fp16" else "classifier"
    whole = replace(float_program(kind), precision=precision)
    if precision == "int8":
        whole = rounded_program(symmetric=True)
    path = tmp_path / "model.tensorrt.unproven"
    target.export(whole, path)
    assert set(files_of(path)) == {"/model.onnx", "/build.sh"}
    script = (path / "build.sh").read_text()
    assert script.splitlines()[-1] == f"{BUILD} {flag} {SHAPES}"
    assert os.access(path / "build.sh", os.X_OK)
    checked = target.check(whole, path)
    assert checked.failures == ()
    assert checked.told["engine"] == "to be built by build.sh"
    assert checked.stand_in is not None
    made, told = checked.stand_in(pictures(12, seed=2).numpy()), expected(kind)
    if precision == "int8":
        assert decibels(told, made, "output") > 15
    else:
        assert decisions(kind, made) == decisions(kind, told)


@pytest.mark.long
def test_a_zero_point_that_is_not_zero_is_told(tmp_path: Path) -> None:
    target = cast(CheckingTarget, target_named("tensorrt"))
    other = rounded_program(symmetric=False)
    target.export(other, tmp_path / "model")
    failures = target.check(other, tmp_path / "model").failures
    assert failures
    assert "has a zero point of -" in failures[0]
    plain = replace(float_program("classifier"), precision="int8")
    target.export(plain, tmp_path / "model")
    assert target.check(plain, tmp_path / "model").failures == ("nothing in the graph is rounded",)


@pytest.mark.long
@pytest.mark.seed("S4-25", "S4-41")
def test_where_the_builder_is_there_it_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "bin" / "trtexec"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "$@" >told\necho engine >model.engine\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    target = cast(CheckingTarget, target_named("tensorrt"))
    whole, path = float_program("classifier"), tmp_path / "model"
    target.export(whole, path)
    assert (path / "told").read_text().strip() == f"{BUILD} --noTF32 {SHAPES}".partition(" ")[2]
    assert target.check(whole, path).told["engine"] == "built, not run"
    tool.write_text('#!/bin/sh\necho "[E] no such layer"\necho "&&&& FAILED"\nexit 3\n')
    with pytest.raises(UserError, match=r"trtexec built no engine: \[E\] no such layer") as caught:
        target.export(whole, path)
    assert "\n" not in str(caught.value)


class Reading:
    """A task's part of a graph; a copy of it reads a copy of the network."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def compute(self, x: Tensor) -> dict[str, Tensor]:
        scores = self.network(x)
        return {"output": scores, "class_id": scores.argmax(dim=1)}


@pytest.mark.long
@pytest.mark.seed("S4-37", "S4-81", "S4-84")
def test_the_other_quantiser_writes_rounded_layers_and_leaves_the_network(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("modelopt")
    capfd.readouterr()
    first = program("classifier").module
    assert first is not None
    network = first.network
    module = Deployable(network, Reading(network).compute, ("output", "class_id"))
    whole = captured(module, pictures(2)).narrowed(("output",), any_batch=True)
    target: Any = target_named("tensorrt")
    told = {name: value.clone() for name, value in network.state_dict().items()}
    counts, kept = {}, cast(QuantisingTarget, target)
    for name, scheme in {
        "channel": Scheme(tool="modelopt", method="max"),
        "tensor": Scheme(tool="modelopt", per_channel=False, method="max"),
        "stem float": Scheme(tool="modelopt", float_layers=frozenset({"stem.0"}), method="max"),
    }.items():
        assert rounds_itself(target, scheme)
        eight = replace(whole, precision="int8")
        kept.export_quantised(eight, [pictures(8)], scheme, tmp_path / "model")
        checked = target.check(eight, tmp_path / "model")
        assert checked.failures == ()
        made = checked.stand_in(pictures(12, seed=2).numpy())
        assert decibels(expected("classifier"), made, "output") > 15
        nodes = onnx.load(str(tmp_path / "model" / "model.onnx")).graph.node
        counts[name] = Counter(node.op_type for node in nodes)["QuantizeLinear"]
    assert counts["channel"] == counts["tensor"] == counts["stem float"] + 2 == 10
    assert all(torch.equal(value, told[name]) for name, value in network.state_dict().items())
    assert type(network.stem[0]) is nn.Conv2d
    assert capfd.readouterr() == ("", "")


def test_a_quantiser_that_a_target_has_not_is_told() -> None:
    scheme = Scheme(tool="modelopt")
    with pytest.raises(UserError, match="--quantizer: onnx has no quantizer 'modelopt'"):
        rounds_itself(target_named("onnx"), scheme)
    assert not rounds_itself(target_named("onnx"), Scheme())
