"""OpenVINO's folder: what it holds."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.artefact import files_of
from cvtrainer.deploy.program import Deployable, captured
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


class Strange(nn.Module):
    """What OpenVINO has no rule for."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.i0(x)


def test_what_it_cannot_express_is_named_in_one_line(tmp_path: Path) -> None:
    network = nn.Sequential(Strange())
    whole = captured(Deployable(network, lambda x: {"y": network(x)}, ("y",)), torch.rand(2, 4))
    with pytest.raises(UserError, match="openvino cannot express special_i0 of the module") as told:
        target_named("openvino").export(whole, tmp_path / "model")
    assert "No conversion rule found for operations: aten.i0.default" in str(told.value)
    assert "\n" not in str(told.value)
    assert not list(tmp_path.iterdir())
