"""OpenVINO's folder: what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from cvtrainer.deploy.artefact import files_of
from cvtrainer.deploy.targets.target import target_named
from tests.deploy.targets.small import program

pytestmark = pytest.mark.long
openvino = pytest.importorskip("openvino")


def test_eight_bits_are_eight_bits_in_the_file(tmp_path: Path) -> None:
    sizes = {}
    for precision in ("fp32", "int8"):
        path = tmp_path / f"model-{precision}"
        target_named("openvino").export(program("classifier", precision), path)
        assert set(files_of(path)) == {"/model.xml", "/model.bin"}
        opened = openvino.Core().read_model(path / "model.xml")
        assert [one.get_any_name() for one in opened.outputs] == ["output", "class_id"]
        assert opened.inputs[0].get_partial_shape().to_string() == "[?,3,32,32]"
        weights = [
            one.get_element_type().get_type_name()
            for one in opened.get_ops()
            if one.get_type_name() == "Constant"
            and len(one.get_output_shape(0)) >= 4
            and min(one.get_output_shape(0)[:2]) > 1
        ]
        assert set(weights) == ({"i8"} if precision == "int8" else {"f32"}), weights
        sizes[precision] = (path / "model.bin").stat().st_size
    assert sizes["int8"] < sizes["fp32"]
