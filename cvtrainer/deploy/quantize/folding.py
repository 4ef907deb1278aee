"""BatchNorm goes into the layers before it, and weights that are computed become tensors.

A graph made from a program shares its tensors with the trained network: what is changed is given
tensors of its own. A norm that computes with the batch, or whose layer has no weight of its own
(one that depends on the input), stays as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.layers import bias_node, kind_of, tensor_at, weight_node

_NORM = "batch_norm"
_TRAINING, _EPS = 5, 7
"""Places of its arguments: input, weight, bias, mean, variance, training, momentum, eps."""
_TRANSPOSED = "conv_transpose"


def folded(program: Program) -> GraphModule:
    """The program as a module of its own, BatchNorm inside of the layers before it."""
    module: Any = program.exported.module()
    assert isinstance(module, GraphModule)
    with torch.no_grad():
        _settle_weights(module)
        _give_calls(module)
        for norm in [one for one in module.graph.nodes if kind_of(one) == _NORM]:
            if _folds(norm):
                _fold(module, norm)
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def _settle_weights(module: GraphModule) -> None:
    """A weight or bias that follows from parameters alone (normed, standardised) is a tensor."""
    known: dict[Node, Any] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            known[node] = tensor_at(module, node)
        elif _is_computed(node) and all(one in known for one in node.all_input_nodes):
            args, words = torch.fx.map_arg((node.args, dict(node.kwargs)), known.__getitem__)
            known[node] = node.target(*args, **words)
    for layer in [one for one in module.graph.nodes if _has_weight(one)]:
        for part in (layer.args[1], bias_node(layer)):
            if isinstance(part, Node) and part.op != "get_attr" and part in known:
                made = _attribute(module, layer, f"{part.name}_of_{layer.name}", known[part])
                made.meta = dict(part.meta)
                layer.replace_input_with(part, made)
    module.graph.eliminate_dead_code()


def _is_computed(node: Node) -> bool:
    """Of tensors, by an operator that draws nothing and changes nothing."""
    schema = getattr(node.target, "_schema", None)
    plain = schema is not None and not schema.is_mutable
    drawn = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    return node.op == "call_function" and plain and not drawn and bool(node.all_input_nodes)


def _give_calls(module: GraphModule) -> None:
    """Each call of a layer gets tensors of its own, and a norm behind it a call of its own.

    A norm is folded into the tensors of the call before it. Others that share them, or that read
    what was there before the norm, must not see that.
    """
    for norm in [one for one in module.graph.nodes if kind_of(one) == _NORM]:
        call: Any = norm.args[0]
        if _folds(norm) and len(call.users) > 1:
            with module.graph.inserting_after(call):
                own = module.graph.node_copy(call)
            norm.replace_input_with(call, own)
    seen: set[str] = set()
    for node in [one for one in module.graph.nodes if _has_weight(one)]:
        for place, part in enumerate(node.all_input_nodes):
            if part.op == "get_attr":
                if str(part.target) in seen:
                    value = tensor_at(module, part).detach().clone()
                    made = _attribute(module, node, f"input_{place}_of_{node.name}", value)
                    made.meta = dict(part.meta)
                    node.replace_input_with(part, made)
                seen.add(str(part.target))
    module.graph.eliminate_dead_code()


def _has_weight(node: Node) -> bool:
    """A layer, or one that is not rounded as one; all of them may have a norm folded in."""
    name = kind_of(node)
    return node.op == "call_function" and (name == "linear" or name.startswith("conv"))


def _folds(norm: Node) -> bool:
    """Whether the norm has fixed numbers, for the channels of a layer that has its own."""
    arguments: Any = norm.args
    layer = arguments[0]
    if arguments[_TRAINING] or not isinstance(layer, Node) or not _has_weight(layer):
        return False
    parts = [*arguments[1:5], layer.args[1], bias_node(layer)]
    fixed = all(part is None or _is_tensor(part) for part in parts)
    # Behind vectors of several places a norm is for the places, not for what the layer makes.
    by_channel = kind_of(layer) != "linear" or layer.meta["val"].ndim == 2
    return fixed and by_channel and all(_is_tensor(part) for part in arguments[3:5])


def _is_tensor(part: Any) -> bool:
    return isinstance(part, Node) and part.op == "get_attr"


def _fold(module: GraphModule, norm: Node) -> None:
    arguments: Any = norm.args
    layer = arguments[0]
    scale, centre, variance, shift = _numbers(module, norm)
    factor = scale * torch.rsqrt(variance + arguments[_EPS])
    weight = tensor_at(module, weight_node(layer)).detach()
    old = bias_node(layer)
    before = torch.zeros_like(centre) if old is None else tensor_at(module, old).detach()
    tensors = (weight * _along(factor, weight, layer), (before - centre) * factor + shift)
    parts = []
    for word, place, tensor in zip(
        ("weight", "bias"), (weight_node(layer), old), tensors, strict=True
    ):
        made = _attribute(module, layer, f"folded_{word}_of_{layer.name}", tensor)
        made.meta = {} if place is None else dict(place.meta)
        parts.append(made)
    layer.args = (layer.args[0], *parts, *layer.args[3:])
    layer.kwargs = {word: one for word, one in layer.kwargs.items() if word != "bias"}
    norm.replace_all_uses_with(layer)
    module.graph.erase_node(norm)


def _numbers(module: GraphModule, norm: Node) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scale, mean, variance and shift of each channel."""
    parts: Any = norm.args[1:5]
    weight, bias, mean, variance = (
        None if part is None else tensor_at(module, part).detach() for part in parts
    )
    assert mean is not None, "see _folds"
    assert variance is not None
    scale = torch.ones_like(mean) if weight is None else weight
    return scale, mean, variance, torch.zeros_like(mean) if bias is None else bias


def _along(factor: Tensor, weight: Tensor, layer: Node) -> Tensor:
    """The factor of each output channel where the weight has these; transposed convolutions have
    those of a group at the second place, for each of its inputs."""
    rest = [1] * (weight.ndim - 2)
    if not kind_of(layer).startswith(_TRANSPOSED):
        return factor.view(-1, 1, *rest)
    groups = len(factor) // weight.shape[1]
    return (
        factor.view(groups, -1)
        .repeat_interleave(len(weight) // groups, 0)
        .view(*weight.shape[:2], *rest)
    )


def _attribute(module: GraphModule, before: Node, name: str, tensor: Tensor) -> Node:
    setattr(module, name, nn.Parameter(tensor.detach(), requires_grad=False))
    with module.graph.inserting_before(before):
        return module.graph.get_attr(name)
