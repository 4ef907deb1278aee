"""Rounding that can be turned on and off, in the places of a graph's observers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node


class Switch(nn.Module):
    """Rounds like the finished graph, or lets through."""

    def __init__(self, observer: nn.Module) -> None:
        super().__init__()
        scale, zero = observer.calculate_qparams()  # type: ignore[operator]
        self.scale = scale.float().flatten()
        self.zero = zero.flatten()
        self.low, self.high = int(observer.quant_min), int(observer.quant_max)  # type: ignore[arg-type]
        self.on = False

    def forward(self, values: Tensor) -> Tensor:
        if not self.on:
            return values
        if len(self.scale) == 1:
            return torch.fake_quantize_per_tensor_affine(
                values, float(self.scale), int(self.zero), self.low, self.high
            )
        zeros = self.zero.to(torch.int32)
        return torch.fake_quantize_per_channel_affine(
            values, self.scale, zeros, 0, self.low, self.high
        )


def observers_of(prepared: GraphModule) -> dict[Node, nn.Module]:
    """The observer of each node that is one; several nodes may share it."""
    found = {}
    for node in prepared.graph.nodes:
        if node.op == "call_module":
            module = prepared.get_submodule(str(node.target))
            if hasattr(module, "calculate_qparams"):
                found[node] = module
    return found


def source_of(node: Node) -> Node:
    """Whose values an observer sees."""
    while node.op == "call_module" and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return node


@contextmanager
def switched(prepared: GraphModule, *, on: bool) -> Iterator[dict[str, Switch]]:
    """Switches for observers, by their name in the graph, until the end of the block; shared ones
    stay shared."""
    there = observers_of(prepared)
    made: dict[nn.Module, Switch] = {}
    for node, observer in there.items():
        if observer not in made:
            made[observer] = Switch(observer)
            made[observer].on = on
        setattr(prepared, str(node.target), made[observer])
    try:
        yield {node.name: made[observer] for node, observer in there.items()}
    finally:
        for node, observer in there.items():
            setattr(prepared, str(node.target), observer)
