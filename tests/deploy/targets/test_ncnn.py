"""ncnn folders: floats as the network gives them, halves near them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.artefact import files_of, size_of
from cvtrainer.deploy.program import Deployable, captured
from cvtrainer.deploy.runtime.runner import runner_of
from cvtrainer.deploy.targets.target import target_named
from tests.deploy.targets.decided import decisions, expected
from tests.deploy.targets.small import RAW, contract_of, pictures, program

pytest.importorskip("pnnx")
pytest.importorskip("ncnn")


@pytest.mark.seed("S4-38")
@pytest.mark.parametrize("kind", list(RAW))
def test_floats_decide_as_the_network_and_halves_are_near(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = program(kind).narrowed(RAW[kind], any_batch=False)
    path, told, sizes = tmp_path / "model.ncnn.unproven", expected(kind), []
    for precision, away in (("fp32", 1e-5), ("fp16", 0.01)):
        narrow = replace(whole, precision=precision)
        target_named("ncnn").export(narrow, path)
        assert set(files_of(path)) == {"/model.param", "/model.bin"}
        sizes.append(size_of(path))
        made = runner_of(path, contract_of("ncnn", narrow))(pictures(12, seed=2).numpy())
        for name in RAW[kind]:
            assert made[name].shape == told[name].shape
            np.testing.assert_allclose(made[name], told[name], rtol=0, atol=away, err_msg=name)
        if precision == "fp32":
            assert decisions(kind, made) == decisions(kind, told)
    assert sizes[1] < 0.8 * sizes[0]
    assert capfd.readouterr() == ("", "")


class CutToSize(nn.Module):
    """Cuts nothing off at its own size; what is captured then is a second name of the tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.layer(x)
        return scores[..., : x.shape[2], : x.shape[3]]


def test_a_cut_that_cuts_nothing_is_left_out(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, x = CutToSize(), torch.rand(1, 3, 8, 8)
    made = captured(Deployable(network, lambda x: {"output": network(x)}, ["output"]), x)
    whole = made.narrowed(["output"], any_batch=False)
    target_named("ncnn").export(whole, tmp_path / "model.ncnn")
    found = runner_of(tmp_path / "model.ncnn", contract_of("ncnn", whole))(x.numpy())
    with torch.no_grad():
        np.testing.assert_allclose(found["output"], network(x).numpy(), rtol=0, atol=1e-5)


def test_a_damaged_artefact_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole = program("classifier").narrowed(RAW["classifier"], any_batch=False)
    contract = contract_of("ncnn", whole)
    path = tmp_path / "model.ncnn"
    path.mkdir()
    with pytest.raises(UserError, match=r"model\.ncnn: not a folder of model\.param"):
        runner_of(path, contract)
    for name in ("model.param", "model.bin"):
        (path / name).write_bytes(b"not a graph")
    with pytest.raises(UserError, match=r"model\.ncnn: ncnn cannot open it"):
        runner_of(path, contract)
    target_named("ncnn").export(whole, path)
    two = replace(contract, outputs=(*contract.outputs, replace(contract.outputs[0], name="b")))
    with pytest.raises(UserError, match="the contract names other outputs"):
        runner_of(path, two)
    assert capfd.readouterr() == ("", "")
