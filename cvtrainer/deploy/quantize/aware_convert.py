"""A network that was trained with rounding, as the graph in 8-bit numbers that it has become.

Norms go into the weights and biases of their layers; a weight keeps the level that it had in
training, and ranges are those of training. Nothing is measured again.
"""

from __future__ import annotations

from copy import copy, deepcopy

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from cvtrainer.deploy.quantize.aware_graph import DROPOUTS, norm_at
from cvtrainer.deploy.quantize.layers import bias_node, is_layer, kind_of, tensor_at
from cvtrainer.deploy.quantize.rounding import PerChannelWeights
from cvtrainer.deploy.quiet import quiet


def converted(trained: GraphModule) -> nn.Module:
    """A module in evaluation that computes what that graph of a network did."""
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e

    with quiet(), torch.no_grad():
        module = GraphModule(trained, deepcopy(trained.graph))
        module.meta.update(trained.meta)
        for node in list(module.graph.nodes):
            if node.op == "call_function" and kind_of(node) in DROPOUTS:
                node.replace_all_uses_with(node.args[0])
                module.graph.erase_node(node)
            elif is_layer(node):
                _settle(module, node)
        module.graph.eliminate_dead_code()
        module.recompile()
        made = convert_pt2e(module)
        # Of torchao's module only what the graph reads, and free to change its mode.
        return GraphModule(made, made.graph).eval()


def _settle(module: GraphModule, node: Node) -> None:
    """Fix a layer's levels, and fold the norm behind it."""
    given = node.args[1]
    assert isinstance(given, Node)
    rounds = module.get_submodule(str(given.target)) if given.op == "call_module" else None
    rounded = isinstance(rounds, PerChannelWeights)
    source = given.args[0] if rounded else given
    if not isinstance(source, Node) or source.op != "get_attr":
        return
    weights = tensor_at(module, source).detach()
    factor, bias = torch.ones_like(weights.flatten(1)[:, 0]), None
    norm = _norm_behind(module, node)
    if norm is not None:
        factor, bias = _of_norm(module, norm, node)
    shape = (-1, *[1] * (weights.ndim - 1))
    if isinstance(rounds, PerChannelWeights):
        # Of its own: other calls of the layer may have other norms behind them.
        module.add_module(
            f"levels_of_{node.name}", rounds.fixed(rounds.scale_of(weights) * factor.abs())
        )
        weights = rounds(weights) * factor.view(shape)
        made = _constant(module, node, f"weight_of_{node.name}", weights)
        with module.graph.inserting_before(node):
            own = module.graph.call_module(f"levels_of_{node.name}", (made,))
        own.meta = copy(given.meta)
        node.update_arg(1, own)
    elif norm is not None:
        node.update_arg(
            1, _constant(module, node, f"weight_of_{node.name}", weights * factor.view(shape))
        )
    if norm is not None and bias is not None:
        made = _constant(module, node, f"bias_of_{node.name}", bias)
        node.kwargs = {key: one for key, one in node.kwargs.items() if key != "bias"}
        node.args = (*node.args[:2], made, *node.args[3:])
        norm.replace_all_uses_with(node)
        module.graph.erase_node(norm)


def _norm_behind(module: GraphModule, node: Node) -> Node | None:
    """The norm that alone reads the layer and can be a part of it."""
    after = next(iter(node.users)) if len(node.users) == 1 else None
    if after is None or after.op != "call_module":
        return None
    norm = norm_at(module, str(after.target))
    return after if norm is not None and norm.running_mean is not None else None


def _of_norm(module: GraphModule, after: Node, node: Node) -> tuple[Tensor, Tensor]:
    """What it multiplies each channel by, and the layer's bias with it."""
    norm = norm_at(module, str(after.target))
    assert norm is not None
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        factor = factor * norm.weight.detach()
    own = bias_node(node)
    before = -norm.running_mean if own is None else tensor_at(module, own) - norm.running_mean
    bias = before * factor
    return factor, bias if norm.bias is None else bias + norm.bias.detach()


def _constant(module: GraphModule, before: Node, name: str, tensor: Tensor) -> Node:
    setattr(module, name, nn.Parameter(tensor.detach().clone(), requires_grad=False))
    with module.graph.inserting_before(before):
        made = module.graph.get_attr(name)
    made.meta = copy(before.meta)
    made.meta["val"] = tensor
    return made
