"""What is left of a network when it is captured: steps, names, weights, multiply-accumulates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.planner.capture import capture
from cvtrainer.deploy.planner.graph import Graph, InPlace, Precision


class Call(nn.Module):
    """A function as a network, with the layers that it may use."""

    def __init__(self, call: Any, **layers: nn.Module) -> None:
        super().__init__()
        self.call = call
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *given: Tensor) -> Any:
        return self.call(self, *given)


def graph_of(call: Any, *shapes: tuple[int, ...], **layers: nn.Module) -> Graph:
    return capture(Call(call, **layers), [torch.zeros(shape) for shape in shapes])


def kinds(graph: Graph) -> list[str]:
    return [step.name for step in graph.steps]


def test_norms_and_clamps_are_folded_and_named_by_their_module() -> None:
    block = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
    graph = graph_of(lambda net, x: net.block(x), (1, 3, 6, 6), block=block.train())
    assert kinds(graph) == ["block.0 (conv2d)"]
    assert graph.folded == {"norms": 1, "activations": 1}
    assert block.training
    assert graph.macs == 8 * 16 * 27
    assert sum(one.bytes(Precision.INT8) for one in graph.weights()) == 8 * 27 + 4 * 8
    assert sum(one.scale_bytes(Precision.INT8) for one in graph.weights()) == 4 * 8
    assert sum(one.bytes(Precision.FLOAT) for one in graph.weights()) == 4 * (8 * 27 + 8)
    assert sum(one.scale_bytes(Precision.FLOAT) for one in graph.weights()) == 0


def test_a_bias_is_not_counted_twice_when_a_norm_is_folded() -> None:
    block = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    graph = graph_of(lambda net, x: net.block(x), (1, 4), block=block)
    assert kinds(graph) == ["block.0 (linear)"]
    assert sum(one.elements for one in graph.weights()) == 4 * 6 + 6


@pytest.mark.parametrize(
    ("call", "left"),
    [
        (lambda net, x: net.norm(functional.max_pool2d(x, 2)), ["max_pool2d", "norm (batch_norm)"]),
        (lambda net, x: (net.conv(x), net.norm(net.conv(x))), ["conv", "conv", "norm"]),
        (lambda net, x: functional.hardswish(net.conv(x)), ["conv", "hardswish"]),
        (lambda net, x: [y := net.conv(x), functional.relu(y)], ["conv", "relu"]),
        (lambda net, x: functional.relu(x + 1), ["add"]),
        (lambda net, x: functional.relu(x + 1).flatten(1).unsqueeze(0), ["add"]),
        (lambda net, x: functional.dropout(x, 0.5, net.training) * 2, ["mul"]),
        (lambda net, x: net.conv(functional.pad(x, (0, 1, 0, 1))), ["conv"]),
        (lambda net, x: functional.pad(x, (0, 1, 0, 1)), ["pad"]),
        (lambda net, x: net.conv(functional.pad(x, (0, 1, 0, 1), value=2.0)), ["pad", "conv"]),
        (lambda net, x: x.permute(0, 2, 3, 1), ["permute"]),
        (lambda net, x: x.mean((2, 3), keepdim=True).permute(0, 2, 3, 1), ["mean"]),
        (lambda net, x: x + torch.arange(6).float().softmax(0), ["add"]),
        (lambda net, x: [x.softmax(1), x * 2][1], ["mul"]),
    ],
)
def test_what_needs_no_memory_is_gone(call: Any, left: list[str]) -> None:
    layers = {"conv": nn.Conv2d(4, 4, 1), "norm": nn.BatchNorm2d(4)}
    found = kinds(graph_of(call, (1, 4, 6, 6), **layers))
    assert len(found) == len(left), found
    assert all(one.startswith(wanted) for one, wanted in zip(found, left, strict=True)), found


def test_changes_in_place_read_as_what_they_give() -> None:
    def call(net: nn.Module, x: Tensor) -> Tensor:
        y = x * 2
        y.add_(1).relu_()
        y += x
        return y

    graph = graph_of(call, (1, 4))
    assert [step.kind for step in graph.steps] == ["mul", "add", "add"]
    assert graph.steps[-1].over == (graph.steps[1].writes[0], graph.inputs[0])


def test_what_is_filled_with_what_depends_on_the_input_is_no_constant() -> None:
    def assembled(net: Any, x: Tensor) -> Tensor:
        both = torch.zeros(1, 4, 4, 4)
        both[:, :2] = net.conv(x)
        both[:, 2:].unsqueeze(0).copy_(x[None])
        return net.head(both)

    layers = {"conv": nn.Conv2d(2, 2, 1), "head": nn.Conv2d(4, 8, 1)}
    graph = graph_of(assembled, (1, 2, 4, 4), **layers)
    assert kinds(graph)[-1] == "head (conv2d)"
    assert graph.macs == 16 * (2 * 2 + 4 * 8)
    assert sum(one.elements for one in graph.weights()) == 2 * 2 + 2 + 4 * 8 + 8
    assert graph.values[graph.outputs[0]].shape == (1, 8, 4, 4)


def test_what_is_kept_from_call_to_call_is_held_throughout() -> None:
    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kept: Tensor
            self.register_buffer("kept", torch.zeros(1, 16))
            self.register_buffer("step", torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            self.step.add_(1)
            return self.kept.mul_(0.9).add_(x) * self.step

    graph = capture(Mean(), [torch.zeros(1, 16)])
    assert [graph.values[place].name for place in graph.inputs] == ["b_kept", "x"]
    assert graph.inputs[0] in graph.outputs
    assert [one.elements for one in graph.weights()] == [1]


def test_what_is_drawn_without_an_input_is_a_step() -> None:
    graph = graph_of(lambda net, x: x + torch.randn(1, 4), (1, 4))
    assert kinds(graph) == ["randn", "add"]


def test_depthwise_convolutions_and_joins_are_known() -> None:
    def call(net: Any, x: Tensor) -> Tensor:
        return torch.cat([net.deep(x), net.full(x)], 1)

    layers = {"deep": nn.Conv2d(4, 4, 3, groups=4, padding=1), "full": nn.Conv2d(4, 2, 1)}
    deep, full, join = graph_of(call, (1, 4, 6, 6), **layers).steps
    assert (deep.over_as, deep.over) == (InPlace.DEPTHWISE, deep.reads)
    assert full.over == ()
    assert join.parts == (deep.writes[0], full.writes[0])


def test_constants_are_weights_and_integers_have_their_own_size() -> None:
    graph = graph_of(lambda net, x: (x + torch.arange(4), x.argmax(1), x > 0), (1, 4))
    assert [value.fixed for value in graph.values] == [None, None, 4, 1]
    assert [one.elements for one in graph.weights()] == [4]


def test_attention_and_recurrent_layers_have_their_products() -> None:
    cell, x = nn.GRU(6, 4, batch_first=True), torch.rand(1, 9, 6)
    before = cell(x)[0]
    graph = graph_of(lambda net, x: net.cell(x)[0], (1, 9, 6), cell=cell)
    assert graph.macs == 9 * 12 * (6 + 4)
    assert torch.equal(cell(x)[0], before)
    inner = nn.MultiheadAttention(8, 2, batch_first=True)
    graph = graph_of(lambda net, x: net.inner(x, x, x)[0], (1, 5, 8), inner=inner)
    assert graph.macs == 5 * 8 * 24 + 2 * 5 * 5 * 8 + 5 * 64


def test_attention_holds_every_query_with_every_key_while_it_runs() -> None:
    def call(net: nn.Module, x: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(x, x, x)

    graph = graph_of(call, (1, 2, 5, 8))
    (step,) = graph.steps
    assert [graph.values[value].shape for value in step.writes] == [(1, 2, 5, 8), (1, 2, 5, 5)]
    assert graph.outputs == step.writes[:1]
    assert graph.macs == 2 * 2 * 5 * 5 * 8


def test_what_cannot_be_exported_is_said_in_a_line() -> None:
    def call(net: nn.Module, x: Tensor) -> Tensor:
        return x * 2 if bool(x.sum() > 0) else x

    with pytest.raises(UserError, match="Call cannot be exported with this input"):
        graph_of(call, (1, 4))
