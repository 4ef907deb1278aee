"""Rounding shifts the mean of what a layer gives; its bias takes that back.

Measured on the calibration sample, per output channel, layer after layer: each is corrected with
what it gets from the corrected ones before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from cvtrainer.deploy.quantize.layers import (
    bias_node,
    channel_axis,
    is_layer,
    replace_tensor,
    tensor_at,
)

_MOST_NUMBERS = 2**27
"""So many numbers of the largest tensor are held at once: half a GiB."""


def channel_means(module: GraphModule, batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """The mean of each output channel of every layer, by the layer's node."""
    watch = _Watch(module)
    for batch in batches:
        watch.run(batch)
    return {name: total / watch.counts[name] for name, total in watch.sums.items()}


def correct_biases(
    module: GraphModule, means: dict[str, Tensor], batches: Sequence[Tensor]
) -> dict[str, float]:
    """Set the biases of a rounded graph so that its layers have these means.

    Every layer must have a bias of its own. Gives the largest correction of each.
    """
    walks = [_Walk(module, batch) for batch in batches]
    last = _last_uses(module)
    moved: dict[str, float] = {}
    for node in module.graph.nodes:
        for walk in walks:
            walk.step(node)
        bias = bias_node(node) if is_layer(node) else None
        if bias is not None and node.name in means:
            outputs = [walk.env[node] for walk in walks]
            count = sum(one.numel() for one in outputs) / len(means[node.name])
            mean = torch.stack([_channel_sums(node, one) for one in outputs]).sum(0) / count
            away = (means[node.name] - mean).float()
            replace_tensor(module, bias, tensor_at(module, bias).detach() + away)
            shape = (-1, *[1] * (outputs[0].ndim - 2)) if channel_axis(node) == 1 else (-1,)
            for walk in walks:
                walk.env[node] = walk.env[node] + away.view(shape)
            moved[node.name] = float(away.abs().max())
        for walk in walks:
            for gone in last.get(node, ()):
                walk.env.pop(gone, None)
    return moved


def those_that_fit(module: GraphModule, batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """As many of the batches, from the first, as can be held through the graph at once."""
    largest = 1
    for node in module.graph.nodes:
        value = node.meta.get("val")
        if node.op == "call_function" and isinstance(value, Tensor) and value.ndim > 1:
            largest = max(largest, int(value[0].numel()))
    left = max(1, _MOST_NUMBERS // largest)
    for batch in batches:
        if left <= 0:
            return
        yield batch[:left]
        left -= len(batch)


def _channel_sums(node: Node, values: Tensor) -> Tensor:
    axis = channel_axis(node) % values.ndim
    return values.double().sum(dim=[one for one in range(values.ndim) if one != axis])


class _Watch(Interpreter):
    """Runs a graph and sums up what its layers give."""

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, float] = {}

    def run_node(self, n: Node) -> Any:
        made = super().run_node(n)
        if is_layer(n):
            sums = _channel_sums(n, made)
            self.sums[n.name] = self.sums.get(n.name, 0.0) + sums
            self.counts[n.name] = self.counts.get(n.name, 0.0) + made.numel() / len(sums)
        return made


class _Walk(Interpreter):
    """One batch on its way through a graph, node by node."""

    def __init__(self, module: GraphModule, batch: Tensor) -> None:
        super().__init__(module)
        self.args_iter = iter((batch,))

    def step(self, node: Node) -> None:
        self.env[node] = self.run_node(node)


def _last_uses(module: GraphModule) -> dict[Node, list[Node]]:
    """Which values nobody needs after a node."""
    seen: set[Node] = set()
    last: dict[Node, list[Node]] = {}
    for node in reversed(module.graph.nodes):
        for one in node.all_input_nodes:
            if one not in seen:
                seen.add(one)
                last.setdefault(node, []).append(one)
    return last
