"""What an exported operator means for memory: a view, a value by value function, a layer.

By name where torch does not say it itself. What is in none of these sets makes a new value from
old ones, which is never wrong and at worst too careful.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

LAYERS = {
    "conv1d",
    "conv2d",
    "conv3d",
    "convolution",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "linear",
}
"""A norm behind these is folded into their weights; theirs have a scale per output channel."""

RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
JOINS = {"cat", "concat", "concatenate", "stack"}
NORMS = {"batch_norm", "_native_batch_norm_legit_no_training"}
CLAMPS = {"relu", "relu6", "hardtanh", "clamp", "clamp_min", "clamp_max"}
"""A kernel that stores its result can clamp it on the way."""

CLAMPED = LAYERS | {"add", "sub", "mul", "batch_norm"}
"""These store what a clamp behind them would read."""

ATTENTION = "scaled_dot_product_attention"
PADS = {"pad", "constant_pad_nd"}
_RANDOM = torch.Tag.nondeterministic_seeded

_VIEWS = {
    "_unsafe_view",
    "alias",
    "alpha_dropout",
    "clone",
    "contiguous",
    "detach",
    "dropout",
    "feature_alpha_dropout",
    "feature_dropout",
    "flatten",
    "lift_fresh_copy",
    "reshape",
    "squeeze",
    "unflatten",
    "unsqueeze",
    "view",
    "view_as",
}
_OWN_SIZE = {"expand", "expand_as", "narrow", "slice", "to", "_to_copy", "type_as"}
"""Views where they leave everything as it was."""

_TURNS = {"permute", "transpose", "t", "movedim", "moveaxis", "swapaxes", "numpy_T"}
_POINTWISE = {"hardswish", "prelu", "rsub", "floor_divide", "to", "_to_copy", "type_as", "gelu"}
"""Value by value, though torch has no such tag on them."""


def kind_of(node: Node) -> str:
    """`conv2d`, `add`: the operator's name without its library, overload and in-place mark."""
    schema = getattr(node.target, "_schema", None)
    name = schema.name.split("::")[-1] if schema is not None else str(node.target)
    bare = name.rstrip("_")
    return bare or name


def is_pointwise(node: Node, kind: str) -> bool:
    """Whether each number of the result depends on one number of each operand."""
    return kind in _POINTWISE or torch.Tag.pointwise in getattr(node.target, "tags", ())


def is_random(node: Node) -> bool:
    """Whether it draws."""
    return _RANDOM in getattr(node.target, "tags", ())


def changes_its_input(node: Node) -> bool:
    """Whether it writes into what it was given, which others may see through a view."""
    return getattr(node.target, "_schema", None) is None or writes_into(node)


def writes_into(node: Node) -> bool:
    """The same where torch says so."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and bool(schema.is_mutable)


def shares_memory(node: Node) -> bool:
    """Whether its result may lie in the memory of the first that it was given."""
    return (
        bool(getattr(node.target, "is_view", False))
        or writes_into(node)
        or kind_of(node) in _VIEWS | _OWN_SIZE | _TURNS
    )


def is_view(node: Node, kind: str, given: Tensor, made: Tensor) -> bool:
    """Whether the result is what was given, in its very memory, under another shape."""
    if given.numel() != made.numel() or given.dtype != made.dtype:
        return False
    if kind in _TURNS:
        return _keeps_order(node, given)
    return kind in _VIEWS or kind in _OWN_SIZE


def pads_with_zero(node: Node, kind: str) -> bool:
    """Whether it is the padding that a convolution could do itself."""
    if kind not in PADS:
        return False
    rest: list[Any] = [one for one in node.args[2:] if one is not None]
    rest += list(node.kwargs.values())
    return all(one in ("constant", 0, 0.0) for one in rest)


def depthwise(kind: str, given: Tensor, made: Tensor, weight: Tensor) -> bool:
    """Whether each channel is filtered by itself."""
    channels = given.shape[1] if given.ndim > 1 else 0
    return (
        kind in ("conv1d", "conv2d", "conv3d")
        and weight.ndim > 2
        and weight.shape[0] == channels == made.shape[1]
        and weight.shape[1] == 1
        and channels > 1
    )


def _keeps_order(node: Node, given: Tensor) -> bool:
    """Whether the axes that are longer than 1 still follow one another, told by their strides."""
    target: Any = node.target
    turned: Tensor = target(torch.empty(given.shape, device="meta"), *node.args[1:], **node.kwargs)
    pairs = zip(turned.stride(), turned.shape, strict=True)
    strides = [step for step, length in pairs if length > 1]
    return strides == sorted(strides, reverse=True)
