"""A captured graph in other words, for converters that misread some of its own.

Each takes a graph of its own and changes it in place; what it computes stays the same.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node
from torch.nn import functional


def without_names(module: GraphModule) -> GraphModule:
    """A cut that cuts nothing off is captured as a second name of its tensor; some know none."""
    for node in module.graph.find_nodes(op="call_function", target=torch.ops.aten.alias.default):
        node.replace_all_uses_with(node.args[0])
        module.graph.erase_node(node)
    module.recompile()
    return module


def with_picks(module: GraphModule) -> GraphModule:
    """Nearest resizes by no whole number become picks of rows and columns.

    Which neighbour is the nearest then is a matter of rounding, and runtimes round otherwise.
    """
    nearest = torch.ops.aten.upsample_nearest2d.vec
    for node in module.graph.find_nodes(op="call_function", target=nearest):
        given, made = (one.meta["val"].shape[-2:] for one in (node.args[0], node))
        if all(int(after) % int(before) == 0 for before, after in zip(given, made, strict=True)):
            continue
        value: Any = node.args[0]
        for axis, before, after in zip((2, 3), given, made, strict=True):
            value = _picked(module, node, value, axis, _nearest(int(before), int(after)))
        node.replace_all_uses_with(value)
        module.graph.erase_node(node)
    module.recompile()
    return module


def _nearest(before: int, after: int) -> torch.Tensor:
    """Which of so many each of the others is, by torch's own rounding."""
    numbers = torch.arange(float(before)).view(1, 1, before)
    return functional.interpolate(numbers, size=after, mode="nearest").flatten().long()


def _picked(
    module: GraphModule, before: Node, value: Node, axis: int, places: torch.Tensor
) -> Node:
    name = f"{before.name}_places_{axis}"
    module.register_buffer(name, places)
    with module.graph.inserting_before(before):
        constant = module.graph.get_attr(name)
        return module.graph.call_function(
            torch.ops.aten.index_select.default, (value, axis, constant)
        )
