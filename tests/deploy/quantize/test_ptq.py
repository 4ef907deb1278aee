"""Programs in 8-bit numbers: what is rounded, what stays, and that ONNX Runtime agrees."""

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
from cvtrainer.deploy.quantize.calibrators import CALIBRATORS
from cvtrainer.deploy.quantize.layers import kind_of
from cvtrainer.deploy.quantize.ptq import quantised
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.runtime.runner import optimised_runner_of, runner_of
from cvtrainer.deploy.targets.target import target_named


class Gate(nn.Module):
    """Squeeze and excite."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, 4, 1)
        self.up = nn.Conv2d(4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        share = self.up(torch.relu(self.down(x.mean((2, 3), keepdim=True))))
        return x * nn.functional.hardsigmoid(share)


class Small(nn.Module):
    """Depthwise, hard swish, a gate, a skip, a join, a pooling: what small networks are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.deep = nn.Sequential(
            nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16)
        )
        self.gate = Gate(16)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = x + self.gate(nn.functional.hardswish(self.deep(x)))
        joined = torch.cat((self.pool(x), self.pool(y)), dim=1)
        return self.head(joined.mean((2, 3)))


class Wide(nn.Module):
    """Up again by a transposed convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, 2, 1)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(torch.relu(self.down(x)))


def program_of(network: nn.Module) -> Program:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2.0)

    def compute(x: Tensor) -> dict[str, Tensor]:
        scores = network(x)
        return {"output": scores, "probabilities": scores.softmax(dim=1)}

    module = Deployable(network, compute, ("output", "probabilities"))
    return captured(module, torch.rand(2, 3, 16, 16))


def sample(count: int = 4) -> list[Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.rand(8, 3, 16, 16, generator=draw) for _ in range(count)]


def away(program: Program, other: Program) -> float:
    """The mean difference of the scores in units of their spread."""
    x = torch.cat(sample(2))
    with torch.no_grad():
        true, made = (one.exported.module()(x)[0] for one in (program, other))
    return float((true - made).abs().mean() / true.std())


@pytest.fixture(scope="module")
def floating() -> Program:
    torch.manual_seed(0)
    return program_of(Small())


@pytest.mark.seed("S4-18", "S4-39", "S4-81")
@pytest.mark.parametrize("method", CALIBRATORS)
def test_every_calibrator_gives_a_network_close_to_the_float_one(
    floating: Program, method: str
) -> None:
    made = quantised(floating, sample(), Scheme(method=method))
    assert made.precision == "int8"
    assert away(floating, made) < 0.15


def test_everything_inside_is_rounded_and_the_reading_is_not(floating: Program) -> None:
    graph = quantised(floating, sample(), Scheme()).exported.graph
    kinds = [str(node.target) for node in graph.nodes if node.op == "call_function"]
    assert sum("quantize_per_channel" in kind for kind in kinds) == 5  # the weights
    softmax = next(node for node in graph.nodes if "softmax" in str(node.target))
    assert all("dequantize" not in str(user.target) for user in softmax.users)
    for node in graph.nodes:
        if "conv2d" in str(node.target):
            assert all("dequantize" in str(one.target) for one in node.all_input_nodes[:2])
    assert not any("batch_norm" in kind for kind in kinds)


def test_layers_that_shall_stay_float_do(floating: Program) -> None:
    all_rounded = away(floating, quantised(floating, sample(), Scheme()))
    made = quantised(floating, sample(), Scheme(float_layers=frozenset({"gate", "head"})))
    weights = [node for node in made.exported.graph.nodes if "per_channel" in str(node.target)]
    assert len(weights) == 2
    assert away(floating, made) <= all_rounded


def test_a_channel_that_is_a_hundred_times_larger_needs_scales_per_channel() -> None:
    torch.manual_seed(0)
    network = Small()
    with torch.no_grad():
        network.deep[0].weight[3] *= 100
    program = program_of(network)
    per_channel = away(program, quantised(program, sample(), Scheme()))
    per_tensor = away(program, quantised(program, sample(), Scheme(per_channel=False)))
    assert per_channel < per_tensor


def test_without_a_sample_there_are_no_ranges(floating: Program) -> None:
    with pytest.raises(UserError, match="calibration sample is empty"):
        quantised(floating, [], Scheme())


@pytest.mark.long
@pytest.mark.seed("S4-84")
def test_the_artefact_gives_what_the_rounded_program_gives(
    floating: Program, tmp_path: Path
) -> None:
    made = quantised(floating, sample(), Scheme())
    path = tmp_path / "model.onnx"
    target_named("onnx").export(made, path)
    import onnx

    kinds = {node.op_type for node in onnx.load(str(path)).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    contract = Contract("onnx", "int8", made.input, made.outputs, InputSpec())
    x = torch.cat(sample(32))
    with torch.no_grad():
        expected = made.exported.module()(x)[0].numpy()
    given = runner_of(path, contract)(x.numpy())["output"]
    step = np.abs(np.diff(np.unique(expected))).min()
    assert np.abs(given - expected).max() <= 1.01 * step
    assert (given != expected).mean() < 0.05
    import onnxruntime

    bare = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    unasked = bare.run(["output"], {made.input.name: x.numpy()})[0]
    optimised = optimised_runner_of(path, contract)
    assert optimised is not None
    assert np.array_equal(optimised(x.numpy())["output"], unasked)
    assert not np.array_equal(given, unasked)
    assert optimised_runner_of(path, replace(contract, precision="fp32")) is None


class Placed(nn.Module):
    """What is seen, beside the places it was seen at: half of them lie between steps of 8 bits."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3, 2, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        left, right = self.layer(x).chunk(2, dim=1)
        rows = (torch.arange(left.shape[2]) + 0.5) * 37.3
        places = torch.cat([rows, torch.zeros_like(rows), rows + 100])
        return {"seen": torch.cat([left, right.relu()], dim=1), "places": places}


def test_what_the_input_has_no_part_in_stays_as_it_is() -> None:
    torch.manual_seed(0)
    network = Placed().eval()
    x = torch.cat(sample())

    def compute(one: Tensor) -> dict[str, Tensor]:
        return network(one)

    program = captured(Deployable(network, compute, ("seen", "places")), x)
    made = quantised(program, sample(), Scheme())
    with torch.no_grad():
        true, rounded = network(x), made.exported.module()(x)
    assert torch.equal(rounded[1], true["places"])
    assert 2 < len(rounded[0].unique()) <= 256  # parts of a split layer are rounded, too


def test_a_transposed_convolution_stays_in_floats() -> None:
    """Its channels lie elsewhere, and its bias is no activation."""
    torch.manual_seed(0)
    whole = program_of(Wide())
    made = quantised(whole, sample(), Scheme())
    kinds = {kind_of(node) for node in made.exported.graph.nodes if node.op == "call_function"}
    assert "conv_transpose2d" in kinds
    (up,) = (node for node in made.exported.graph.nodes if kind_of(node) == "conv_transpose2d")
    weight, bias = up.args[1:3]
    assert (weight.op, bias.op) == ("placeholder", "placeholder")
    assert away(whole, made) < 0.1
