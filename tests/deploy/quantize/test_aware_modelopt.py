"""Networks that train with modelopt's rounding: layers in their places, and what they become."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("modelopt")
pytest.importorskip("onnxruntime")

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.contract import Contract
from cvtrainer.deploy.program import Deployable, captured
from cvtrainer.deploy.quantize.aware import make_aware
from cvtrainer.deploy.quantize.aware_modelopt import LayerRounding
from cvtrainer.deploy.quantize.scheme import MODELOPT, Scheme
from cvtrainer.deploy.quiet import quiet
from cvtrainer.deploy.runtime.runner import runner_of
from cvtrainer.deploy.targets.target import CheckingTarget, target_named
from cvtrainer.engine.weights import load_weights

pytestmark = pytest.mark.long
SHAPE = (3, 8, 8)
WAY = Scheme(tool=MODELOPT)


class Net(nn.Module):
    """A channel of zeros, a depthwise layer, one that is transposed, norms, a join, a pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU6())
        self.depthwise = nn.Conv2d(6, 6, 3, padding=1, groups=6, padding_mode="reflect")
        self.norm = nn.BatchNorm2d(6)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(4, 4)
        with torch.no_grad():
            self.stem[0].weight[0] = 0.0

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + nn.functional.hardswish(self.norm(self.depthwise(x)))
        return cast(Tensor, self.head(self.drop(self.pool(self.up(x)).flatten(1))))


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(seed))


def rounded(network: nn.Module, method: str = "max", **words: Any) -> LayerRounding:
    """With ranges of a few pictures."""
    room = make_aware(network, SHAPE, replace(WAY, **words))
    assert isinstance(room, LayerRounding)
    network.eval()
    room.watch()
    with torch.no_grad():
        network(pictures(16))
    room.settle(method)
    return room


@pytest.fixture(scope="module")
def trained() -> tuple[Net, LayerRounding]:
    """Some steps of training; what a test changes it brings back."""
    torch.manual_seed(0)
    network = Net()
    room = rounded(network)
    network.train()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    for seed in range(20):
        optimiser.zero_grad()
        (network(pictures(8, seed)) - 1).square().mean().backward()
        optimiser.step()
    return network.eval(), room


def copied(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@pytest.mark.seed("S4-40", "S4-41")
def test_names_stay_everything_learns_and_float_weights_fit(
    trained: tuple[Net, LayerRounding],
) -> None:
    network, room = trained
    own = Net()
    added = set(network.state_dict()) - set(own.state_dict())
    places = ("stem.0", "depthwise", "up", "pool", "head")
    assert tuple(one.layer for one in room.ranges) == places
    ranges = {f"{one}.input_quantizer.{part}" for one in places for part in ("_amax", "kept")}
    assert added == {*ranges, "rounding.input", "rounding.known"}
    assert [name for name, _ in network.named_parameters()] == [
        name for name, _ in own.named_parameters()
    ]
    assert type(network.norm) is nn.BatchNorm2d
    network.zero_grad()
    network(pictures(4)).sum().backward()
    assert all(one.grad is not None for one in network.parameters())
    new = Net()
    make_aware(new, SHAPE, WAY)
    load_weights(new, own.state_dict(), source="a float stage")
    assert torch.equal(new.head.weight, own.head.weight)


def test_what_comes_out_is_a_sum_of_levels_of_what_goes_in() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 2, 1, bias=False))
    room = rounded(network)
    network(x := pictures(2))
    amax = room.ranges[0].quantizer.amax
    assert torch.equal(amax, pictures(16).max())
    weight = network[0].weight.detach()
    step, each = amax / 127, weight.abs().amax((1, 2, 3), keepdim=True) / 127
    told = nn.functional.conv2d((x / step).round() * step, (weight / each).round() * each)
    assert torch.allclose(network(x), told, atol=1e-6)
    assert not torch.allclose(network(x), nn.functional.conv2d(x, weight), atol=1e-4)


def test_ranges_follow_training_until_they_rest(trained: tuple[Net, LayerRounding]) -> None:
    network, room = trained
    before, x = copied(network), 3 * pictures(6, 1)
    assert torch.equal(network(x), network(x))
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())
    network.train()
    network(x)
    amax = before["stem.0.input_quantizer._amax"]
    assert torch.allclose(room.ranges[0].quantizer.amax, amax + 0.01 * (x.max() - amax))
    assert not torch.equal(network.norm.running_mean, before["norm.running_mean"])
    room.hold(ranges=True, norms=True)
    held = copied(network)
    network(x)
    room.hold(ranges=False, norms=False)
    assert all(torch.equal(one, held[name]) for name, one in network.state_dict().items())
    network.load_state_dict(before)
    network.eval()


def test_a_network_that_evaluates_goes_on_evaluating() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Sequential(nn.Conv2d(2, 2, 1)))
    network[1].eval()
    make_aware(network, SHAPE, WAY)
    assert network[0].input_quantizer.training
    assert not network[1][0].input_quantizer.training


def test_a_range_keeps_the_share_that_the_calibrator_chose() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1))
    x = pictures(16)
    x[0, 0, 0, 0] = 50.0
    room = make_aware(network.eval(), SHAPE, WAY)
    assert isinstance(room, LayerRounding)
    room.watch()
    network(x)
    room.settle("percentile", 99.0)
    amax, kept = room.ranges[0].found().tolist()
    assert amax < 5
    assert kept == pytest.approx(amax / 50)
    network.train()
    network(x)
    assert room.ranges[0].found()[0] == pytest.approx(amax)
    network(torch.full_like(x, float("inf")))
    assert room.ranges[0].found()[0] == pytest.approx(amax)


def test_ranks_have_what_any_of_them_saw() -> None:
    room = rounded(nn.Sequential(nn.Conv2d(3, 2, 1)))
    room.ranges[0].join(torch.tensor([[2.0, 1.0], [3.0, 0.5]]))
    assert room.ranges[0].found().tolist() == [6.0 * 0.75, 0.75]


@pytest.mark.seed("S4-41", "S4-84")
def test_onnx_and_the_folder_for_tensorrt_give_the_numbers_of_evaluation(
    trained: tuple[Net, LayerRounding], tmp_path: Path
) -> None:
    onnx = pytest.importorskip("onnx")
    network, room = trained
    before, x = copied(network), pictures(32, 2)
    made = room.converted(SHAPE)
    with torch.no_grad():
        told = network(x)
        with room.in_floats():
            assert float((network(x) - told).abs().max()) > 1e-3
        assert torch.allclose(made(x), told, atol=1e-6)
    assert torch.equal(network(x), told)
    assert all(torch.equal(one, before[name]) for name, one in network.state_dict().items())
    assert made.state_dict()["stem.0.parametrizations.weight.original"].dtype == torch.int8
    with quiet(), room.standing_in(made):
        module = Deployable(made, lambda given: {"output": network(given)}, ["output"])
        program = replace(captured(module, x), precision="int8")
    assert torch.equal(network(x), told)
    contract = Contract("onnx", "int8", program.input, program.outputs, InputSpec())
    target_named("onnx").export(program, tmp_path / "model.onnx")
    run = runner_of(tmp_path / "model.onnx", contract)
    assert abs(run(x.numpy())["output"] - told.numpy()).max() < 1e-5
    nodes = [one.op_type for one in onnx.load(str(tmp_path / "model.onnx")).graph.node]
    assert (nodes.count("QuantizeLinear"), nodes.count("DequantizeLinear")) == (5, 9)
    tensorrt = cast(CheckingTarget, target_named("tensorrt"))
    tensorrt.export(program, tmp_path / "model")
    checked = tensorrt.check(program, tmp_path / "model")
    assert checked.failures == ()
    assert checked.stand_in is not None
    assert abs(checked.stand_in(x.numpy())["output"] - told.numpy()).max() < 1e-5
    assert "--int8" in checked.told["command"]


def test_parts_stay_float_where_asked_by_their_whole_names() -> None:
    parts = {str(place): nn.Conv2d(3, 3, 1) for place in range(11)}
    network = nn.Sequential(*parts.values())
    room = rounded(network, float_layers=frozenset({"1"}))
    assert [one.layer for one in room.ranges] == [name for name in parts if name != "1"]
    assert type(network[1]) is nn.Conv2d
    with pytest.raises(UserError, match=r"quantise\.float: Sequential has no part stem"):
        make_aware(nn.Sequential(nn.Conv2d(3, 3, 1)), SHAPE, replace(WAY, float_layers={"stem"}))


class PassedBy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.spare = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.spare(self.used(x)) if self.training else self.used(x))


def test_what_cannot_be_rounded_is_told() -> None:
    with pytest.raises(UserError, match=r"no values to spare, .*float: \[spare\]"):
        rounded(PassedBy())
    weighted = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 2, 1))
    with pytest.raises(UserError, match="cannot round 0, whose weight is computed"):
        make_aware(nn.Sequential(weighted), SHAPE, WAY)
    with pytest.raises(UserError, match="finds no layer to round in ReLU"):
        make_aware(nn.ReLU(), SHAPE, WAY)
    room = make_aware(nn.Sequential(nn.Conv2d(3, 2, 1)), SHAPE, WAY)
    for use in (lambda: room.network(pictures(1)), lambda: room.converted(SHAPE)):
        with pytest.raises(UserError, match="ranges of this network are not known"):
            use()


def test_ranges_that_weights_bring_for_some_layers_only_are_refused() -> None:
    layers = lambda: nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))  # noqa: E731
    source, network = layers(), layers()
    rounded(source, float_layers=frozenset({"1"}))
    make_aware(network, SHAPE, WAY)
    load_weights(network, source.state_dict(), source="of other float parts")
    with pytest.raises(UserError, match="bring ranges, but none for 1"):
        network(pictures(1))


def test_recurrent_layers_stay_float() -> None:
    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells, self.head = nn.GRU(24, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return cast(Tensor, self.head(self.cells(x.transpose(1, 2).flatten(2))[0][:, -1]))

    network = Rows()
    room = rounded(network)
    assert [one.layer for one in room.ranges] == ["head"]
    assert torch.allclose(room.converted(SHAPE)(pictures(2)), network(pictures(2)), atol=1e-6)
