"""OpenVINO, ExecuTorch and torch's own compiler: each gives what the program gives under torch.

Floats agree to 1e-4. Rounded numbers are the program's, too; where a value lies between two
steps, runtimes that sum in another order take the other one, so one in twenty may be away by a
step that has passed through the rest of the network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.runtime.runner import Arrays, runner_of
from cvtrainer.deploy.targets.target import target_named
from tests.deploy.targets.small import RAW, contract_of, pictures, program

pytestmark = pytest.mark.long
pytest.importorskip("openvino")
pytest.importorskip("executorch")
KINDS = ("classifier", "detector", "segmenter")
OFTEN = {
    "fp32": (("openvino", "detector"), ("executorch", "detector")),
    "int8": (
        ("openvino", "classifier"),
        ("executorch", "segmenter"),
        ("torch", "classifier"),
    ),
}
"""Each takes seconds, so the full cross is for `make soak`."""


def cross(precision: str) -> list[Any]:
    """Every target with every network."""
    return [
        pytest.param(
            target, kind, marks=() if (target, kind) in OFTEN[precision] else pytest.mark.soak
        )
        for target in ("openvino", "executorch", "torch")
        for kind in KINDS
    ]


def both(target: str, kind: str, precision: str, folder: Path) -> tuple[Arrays, Arrays]:
    """What the artefact gives of pictures, and what the program gives of them."""
    whole, can = program(kind, precision), target_named(target).capabilities
    decoded = can.decodes and precision == "fp32"
    names = [port.name for port in whole.outputs] if decoded else RAW[kind]
    narrow = whole.narrowed(names, any_batch=can.any_batch)
    path = folder / f"model{can.suffix}.unproven"
    target_named(target).export(narrow, path)
    x = pictures(12, seed=2)
    made = runner_of(path, contract_of(target, narrow))(x.numpy())
    with torch.no_grad():
        expected = whole.exported.module()(x)
    told = dict(zip((port.name for port in whole.outputs), expected, strict=True))
    assert set(made) == set(names)
    return made, {name: told[name].numpy() for name in names}


@pytest.mark.parametrize(("target", "kind"), cross("fp32"))
def test_floats_are_the_same(target: str, kind: str, tmp_path: Path) -> None:
    made, expected = both(target, kind, "fp32", tmp_path)
    for name, value in expected.items():
        assert made[name].dtype == value.dtype
        if value.dtype.kind == "f":
            np.testing.assert_allclose(made[name], value, rtol=0, atol=1e-4, err_msg=name)
        else:
            assert np.array_equal(made[name], value), name
    assert np.ptp(expected[RAW[kind][0]]) > 0.01


@pytest.mark.seed("S4-81")
@pytest.mark.parametrize(("target", "kind"), cross("int8"))
def test_rounded_numbers_are_those_of_the_program(target: str, kind: str, tmp_path: Path) -> None:
    made, expected = both(target, kind, "int8", tmp_path)
    for name in RAW[kind]:
        value = expected[name]
        reach = float(np.abs(value).max())
        away = np.abs(made[name] - value)
        assert float(away.max()) <= reach / 25, name
        assert float((away > reach / 1000).mean()) <= (0.2 if kind == "detector" else 0.05), name


def test_a_damaged_artefact_is_named(tmp_path: Path) -> None:
    one = program("classifier").narrowed(RAW["classifier"], any_batch=False)
    for target, told in (
        ("openvino", "OpenVINO"),
        ("executorch", "ExecuTorch"),
        ("torch", "torch"),
    ):
        path = tmp_path / f"model.{target}"
        if target == "openvino":
            path.mkdir()
            (path / "model.xml").write_bytes(b"not a graph")
        else:
            path.write_bytes(b"not a graph")
        with pytest.raises(UserError, match=f"{told} cannot open it: ") as caught:
            runner_of(path, contract_of(target, one))
        assert "\n" not in str(caught.value)


def test_without_a_compiler_torch_says_so(tmp_path: Path) -> None:
    from torch._inductor import config

    told = pytest.raises(UserError, match=r"needs a C\+\+ compiler\. Install g\+\+")
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), told:
        target_named("torch").export(program("classifier"), tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())
