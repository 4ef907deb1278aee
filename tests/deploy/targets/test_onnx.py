"""Programs, captured once, as ONNX files that ONNX Runtime runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.program import Deployable, Program, captured
from cvtrainer.deploy.runtime.runner import runner_of
from cvtrainer.deploy.targets.target import target_named
from cvtrainer.models import BaseModel
from cvtrainer.models.backbones import EdgeNet
from cvtrainer.models.heads import Multiclass


def classifier() -> Deployable:
    torch.manual_seed(0)
    network = BaseModel(EdgeNet(width=0.25, depth=0.5), head=Multiclass(num_classes=3))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2.0)

    def compute(x: Tensor) -> dict[str, Tensor]:
        scores = network(x)
        return {"output": scores, "class_id": scores.argmax(dim=1)}

    return Deployable(network, compute, ("output", "class_id"))


def contract_of(program: Program) -> Contract:
    return Contract("onnx", "fp32", program.input, program.outputs, InputSpec())


@pytest.mark.long
@pytest.mark.seed("S1-09", "S1-67", "S4-24")
def test_an_artefact_gives_what_the_network_gives_for_any_batch(tmp_path: Path) -> None:
    module = classifier()
    program = captured(module, torch.rand(2, 3, 32, 32))
    assert program.any_batch
    assert program.input.shape == (None, 3, 32, 32)
    path = tmp_path / "model.onnx"
    target_named("onnx").export(program, path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    runner = runner_of(path, contract_of(program))
    for count in (1, 4):
        x = torch.rand(count, 3, 32, 32)
        made = runner(x.numpy())
        with torch.no_grad():
            scores, classes = module.eval()(x)
        assert np.allclose(made["output"], scores.numpy(), rtol=1e-3, atol=1e-5)
        assert np.array_equal(made["class_id"], classes.numpy())


class OneAtATime(nn.Module):
    """Looks at how many there are."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(1, -1)[:, : 4 * int(x.shape[0])].sum(dim=1)


@pytest.mark.long
def test_a_network_with_a_fixed_number_runs_one_at_a_time(tmp_path: Path) -> None:
    network = OneAtATime()
    module = Deployable(network, lambda x: {"sum": network(x)}, ("sum",))
    program = captured(module, torch.rand(2, 4), any_batch=False)
    assert not program.any_batch
    path = tmp_path / "model.onnx"
    target_named("onnx").export(program, path)
    x = torch.rand(3, 4)
    made = runner_of(path, contract_of(program))(x.numpy())
    assert np.allclose(made["sum"], x.sum(dim=1).numpy(), atol=1e-6)


def test_a_contract_of_another_graph_is_refused(tmp_path: Path) -> None:
    network = Deciding()
    module = Deployable(network, lambda x: {"sum": x.sum(dim=1)}, ("sum",))
    whole, path = captured(module, torch.rand(2, 4)), tmp_path / "model.onnx"
    target_named("onnx").export(whole, path)
    contract = contract_of(whole)
    others = {
        "input": replace(contract, input=replace(contract.input, name="y")),
        "output": replace(contract, outputs=(replace(contract.outputs[0], dtype="int8"),)),
    }
    for what, other in others.items():
        with pytest.raises(UserError, match=f"the contract names another {what} than it has"):
            runner_of(path, other)


class Deciding(nn.Module):
    """Does something else for dark pictures."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1 if float(x.mean()) > 0.5 else x - 1


def test_what_depends_on_values_cannot_become_a_graph(capfd: pytest.CaptureFixture[str]) -> None:
    network = Deciding()
    module = Deployable(network, lambda x: {"output": network(x)}, ("output",))
    told = r"Deciding cannot become one graph at .*test_onnx\.py:\d+: "
    with pytest.raises(UserError, match=told):
        captured(module, torch.rand(2, 4))
    assert capfd.readouterr() == ("", "")


def test_capturing_leaves_the_network_in_its_mode() -> None:
    module = classifier().train()
    module.network.head.eval()
    captured(module, torch.rand(2, 3, 32, 32))
    assert module.network.backbone.training
    assert not module.network.head.training


def test_a_target_that_is_not_there_is_told() -> None:
    with pytest.raises(UserError, match="no target 'onxx'; did you mean onnx"):
        target_named("onxx")


def test_a_damaged_artefact_is_named(tmp_path: Path) -> None:
    program = captured(classifier(), torch.rand(2, 3, 32, 32))
    path = tmp_path / "model.onnx"
    with pytest.raises(UserError, match="no such artefact"):
        runner_of(path, contract_of(program))
    path.write_bytes(b"not a graph")
    with pytest.raises(UserError, match="cannot open it"):
        runner_of(path, contract_of(program))
