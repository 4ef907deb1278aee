"""What is written otherwise for some converters computes the same, there and on their runtimes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.deploy.program import Deployable, Program, captured
from cvtrainer.deploy.runtime.runner import runner_of
from cvtrainer.deploy.targets.rewrites import with_picks, without_names
from cvtrainer.deploy.targets.target import target_named
from tests.deploy.targets.small import contract_of


class UpAgain(nn.Module):
    """Down by two, rounded up, and back to the size there was: 15 from 8, 20 from 10."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        coarse = self.down(x)
        made: Tensor = self.last(functional.interpolate(coarse, size=x.shape[-2:]))
        return made[..., : x.shape[2], :]


def pictures() -> Tensor:
    return torch.rand(1, 3, 15, 20, generator=torch.Generator().manual_seed(1))


def program() -> tuple[nn.Module, Program]:
    torch.manual_seed(0)
    network = UpAgain().eval()
    module = Deployable(network, lambda x: {"output": network(x)}, ["output"])
    whole = captured(module, pictures(), any_batch=False)
    return network, whole


def test_the_graph_computes_the_same() -> None:
    network, whole = program()
    module = without_names(with_picks(whole.exported.module()))
    left = {str(node.target) for node in module.graph.nodes if node.op == "call_function"}
    assert not {"aten.upsample_nearest2d.vec", "aten.alias.default"} & left
    with torch.no_grad():
        assert torch.equal(module(pictures())[0], network(pictures()))
        assert torch.equal(whole.exported.module()(pictures())[0], network(pictures()))


def test_whole_numbers_are_left_alone() -> None:
    network = nn.Upsample(scale_factor=2.0)
    module = Deployable(network, lambda x: {"output": network(x)}, ["output"])
    made = with_picks(captured(module, pictures(), any_batch=False).exported.module())
    kinds = {str(node.target) for node in made.graph.nodes}
    assert not any("index_select" in kind for kind in kinds)


@pytest.mark.long
@pytest.mark.parametrize(
    ("target", "needs"),
    [
        ("onnx", "onnxruntime"),
        ("openvino", "openvino"),
        ("litert", "litert_torch"),
        ("ncnn", "pnnx"),
    ],
)
def test_runtimes_find_the_same_neighbours(target: str, needs: str, tmp_path: Path) -> None:
    pytest.importorskip(needs)
    network, whole = program()
    path = tmp_path / "model"
    target_named(target).export(whole, path)
    made = runner_of(path, contract_of(target, whole))(pictures().numpy())
    with torch.no_grad():
        np.testing.assert_allclose(made["output"], network(pictures()).numpy(), rtol=0, atol=1e-5)
