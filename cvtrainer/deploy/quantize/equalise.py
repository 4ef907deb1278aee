"""Two layers in a row share the load: each channel's weights become equally large in both.

What the first makes a channel smaller by, the second makes its weights larger by; with nothing but
ReLU, pooling or averaging between, the function stays. ReLU6, hard-swish and joins end a row.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from cvtrainer.deploy.quantize.layers import (
    bias_node,
    is_inside,
    is_layer,
    kind_of,
    own_path,
    replace_tensor,
    tensor_at,
    weight_node,
)

_ROUNDS = 30
_STILL = 1e-3
"""No scale moves by more than this share: done."""
_RELUS = ("relu", "relu_", "dropout")
_POOLS = ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "mean", "flatten")


class Pair(NamedTuple):
    """Two layers in a row."""

    first: Node
    second: Node


def equalise(module: GraphModule) -> list[str]:
    """Change the weights of every pair; gives the pairs' module paths."""
    pairs = pairs_of(module)
    tensors: dict[Node, Tensor] = {}
    for pair in pairs:
        bias = bias_node(pair.first)
        parts = (weight_node(pair.first), weight_node(pair.second), bias)
        for part in parts:
            if part is not None:
                tensors[part] = tensor_at(module, part).detach().double()
    for _ in range(_ROUNDS):
        if max((_share(pair, tensors) for pair in pairs), default=0.0) < _STILL:
            break
    for node, tensor in tensors.items():
        replace_tensor(module, node, tensor.to(tensor_at(module, node).dtype))
    return [f"{own_path(pair.first)} -> {own_path(pair.second)}" for pair in pairs]


def pairs_of(module: GraphModule) -> list[Pair]:
    """Layers whose output goes to one other layer alone, in a way that scales go through."""
    found = []
    for node in module.graph.nodes:
        if is_layer(node) and is_inside(node) and _owns(node):
            after = _after(module, node)
            if after is not None and _owns(after):
                found.append(Pair(node, after))
    return found


def _owns(node: Node) -> bool:
    """Whether no other call uses the layer's tensors."""
    parts = [one for one in (weight_node(node), bias_node(node)) if one is not None]
    return all(one.op == "get_attr" and _users(one) == 1 for one in parts)


def _users(node: Node) -> int:
    same = [one for one in node.graph.nodes if one.op == "get_attr" and one.target == node.target]
    return sum(len(one.users) for one in same)


def _after(module: GraphModule, node: Node) -> Node | None:
    channels = len(tensor_at(module, weight_node(node)))
    through = _RELUS if kind_of(node) == "linear" else _RELUS + _POOLS
    at = node
    while len(at.users) == 1:
        after = next(iter(at.users))
        if is_layer(after):
            fits = after.args[0] is at and _read_as_made(at, node, after, channels)
            return after if fits else None
        if after.op != "call_function" or kind_of(after) not in through:
            return None
        if kind_of(after) in _POOLS and not _keeps_channels(after, channels):
            return None
        at = after
    return None


def _read_as_made(value: Node, first: Node, second: Node, channels: int) -> bool:
    """Whether the second takes as channels what the first has made as such."""
    shape = value.meta["val"].shape
    made, taken = (len(shape) - 1 if kind_of(one) == "linear" else 1 for one in (first, second))
    return made == taken and int(shape[taken]) == channels


def _keeps_channels(node: Node, channels: int) -> bool:
    """Whether channels still are at place 1, each by itself."""
    if kind_of(node) == "mean":
        places = node.args[1] if len(node.args) > 1 else None
        ndim = node.all_input_nodes[0].meta["val"].ndim
        inner = isinstance(places, (list, tuple)) and all(int(one) % ndim > 1 for one in places)
        return inner and node.meta["val"].ndim in (2, ndim)
    shape = node.meta["val"].shape
    return len(shape) > 1 and bool(shape[1] == channels)


def _share(pair: Pair, tensors: dict[Node, Tensor]) -> float:
    """Balance a pair once; gives the largest change."""
    first, second = weight_node(pair.first), weight_node(pair.second)
    made, taken = tensors[first], tensors[second]
    leaving = made.flatten(1).abs().amax(dim=1)
    channels = len(leaving)
    groups = channels // taken.shape[1]
    blocks = taken.reshape(groups, len(taken) // groups, taken.shape[1], -1)
    entering = blocks.abs().amax(dim=(1, 3)).flatten()
    alive = (leaving > 0) & (entering > 0)
    scale = torch.where(alive, (leaving / entering).sqrt(), torch.ones_like(leaving))
    tensors[first] = made / scale.view(-1, *[1] * (made.ndim - 1))
    tensors[second] = (blocks * scale.view(groups, 1, -1, 1)).reshape(taken.shape)
    bias = bias_node(pair.first)
    if bias is not None:
        tensors[bias] = tensors[bias] / scale
    return float((scale - 1).abs().max())
