"""The layers of a captured graph, and the tensors that they are made of.

A graph made from a program shares its tensors with the trained network, so nothing here writes into
one: a changed weight or bias is a new tensor in the graph's own module.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

LAYERS = ("conv1d", "conv2d", "linear")
KEPT = (
    "max_pool2d",
    "upsample_nearest2d",
    "flatten",
    "view",
    "reshape",
    "permute",
    "transpose",
    "unsqueeze",
    "squeeze",
    "slice",
)
"""What keeps the rounding that it gets."""
MARK = "quantization_annotation"
"""Where torchao looks for a node's mark."""
_NETWORK = "network"


def kind_of(node: Node) -> str:
    """The operator's name without its overload: `aten.add.Tensor` is `add`."""
    return getattr(node.target, "_opname", "") or str(node.target)


def module_path(node: Node) -> str:
    """The path of the innermost module that a node comes from."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]).split("@")[0] if stack else ""


def own_path(node: Node) -> str:
    """The same as the network itself calls it; empty is the network's own forward."""
    path = module_path(node)
    return "" if path == _NETWORK else path.removeprefix(f"{_NETWORK}.")


def is_inside(node: Node) -> bool:
    """Whether it belongs to the network, not to what is read in its outputs."""
    path = module_path(node)
    return path == _NETWORK or path.startswith(f"{_NETWORK}.")


def is_layer(node: Node) -> bool:
    """Whether it has a weight: a convolution or a linear layer."""
    return node.op == "call_function" and kind_of(node) in LAYERS


def weight_node(node: Node) -> Node:
    """Where the weight of a layer comes from."""
    weight = node.args[1]
    assert isinstance(weight, Node)
    return weight


def bias_node(node: Node) -> Node | None:
    """Where the bias comes from; None where there is none."""
    bias = node.args[2] if len(node.args) > 2 else node.kwargs.get("bias")
    return bias if isinstance(bias, Node) else None


def channel_axis(node: Node) -> int:
    """Where a layer's output has its channels."""
    return -1 if kind_of(node) == "linear" else 1


def tensor_at(module: GraphModule, node: Node) -> Tensor:
    """The tensor that a `get_attr` node stands for."""
    found: Any = module
    for word in str(node.target).split("."):
        found = getattr(found, word)
    assert isinstance(found, Tensor)
    return found


def replace_tensor(module: GraphModule, node: Node, tensor: Tensor) -> None:
    """Let a `get_attr` node stand for another tensor."""
    owner, _, name = str(node.target).rpartition(".")
    setattr(module.get_submodule(owner), name, nn.Parameter(tensor, requires_grad=False))


def give_biases(module: GraphModule) -> None:
    """Each call of a layer gets a bias of its own, zero where there was none."""
    for node in [one for one in module.graph.nodes if is_layer(one)]:
        old = bias_node(node)
        if old is None:
            weight = tensor_at(module, weight_node(node))
            value = torch.zeros(len(weight), dtype=weight.dtype, device=weight.device)
        else:
            value = tensor_at(module, old).detach().clone()
        name = f"bias_of_{node.name}"
        setattr(module, name, nn.Parameter(value, requires_grad=False))
        with module.graph.inserting_before(node):
            made = module.graph.get_attr(name)
        words = {key: one for key, one in node.kwargs.items() if key != "bias"}
        node.args = (node.args[0], node.args[1], made, *node.args[3:])
        node.kwargs = words
    module.graph.eliminate_dead_code()
    module.recompile()
