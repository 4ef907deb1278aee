"""Which places of a graph are rounded to 8 bits, told to torchao node by node.

Only what lies inside of the network is marked: what a task reads in the outputs stays float, and
so does what the input has no part in. An activation right after a layer belongs to it, views and
poolings keep the rounding they get, and the parts of a join share one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e.observer import MinMaxObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantizer import (
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
    SharedQuantizationSpec,
)

from cvtrainer.deploy.quantize.layers import KEPT, LAYERS, MARK, is_inside, kind_of, own_path
from cvtrainer.deploy.quantize.observers import CalibratedObserver
from cvtrainer.deploy.quantize.scheme import Scheme

_CLAMPS = ("relu", "relu_", "hardtanh", "hardtanh_", "relu6", "relu6_", "clamp")
_MIXED = (
    "add",
    "add_",
    "mul",
    "mul_",
    "sub",
    "mean",
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "hardswish",
    "hardswish_",
    "hardsigmoid",
    "hardsigmoid_",
    "sigmoid",
    "silu",
    "silu_",
    "upsample_bilinear2d",
)


class NetworkQuantizer(Quantizer):  # type: ignore[misc]
    """Marks the nodes of a captured program by a scheme."""

    def __init__(self, scheme: Scheme) -> None:
        super().__init__()
        self._scheme = scheme
        self._values = QuantizationSpec(
            dtype=torch.int8,
            observer_or_fake_quant_ctr=CalibratedObserver.with_args(scheme=scheme),
            quant_min=-127 if scheme.symmetric else -128,
            quant_max=127,
            qscheme=torch.per_tensor_symmetric if scheme.symmetric else torch.per_tensor_affine,
        )
        self._weights = _weights(scheme)
        self._fed: set[Node] = set()

    def annotate(self, model: GraphModule) -> GraphModule:
        self._fed = fed_nodes(model)
        for node in model.graph.nodes:
            if node.op == "call_function" and MARK not in node.meta and self._is_ours(node):
                self._mark(node)
        return model

    def validate(self, model: GraphModule) -> None:
        """Whatever this marks is valid."""

    def _is_ours(self, node: Node) -> bool:
        own = own_path(node)
        stays = node.name in self._scheme.float_operators or any(
            own == one or own.startswith(f"{one}.") for one in self._scheme.float_layers
        )
        return is_inside(node) and not stays and _is_float(node) and node in self._fed

    def _mark(self, node: Node) -> None:
        kind = kind_of(node)
        if kind in LAYERS:
            weight = node.args[1]
            assert isinstance(weight, Node)
            self._set(node, {_first(node): self._values, weight: self._weights})
        elif kind in _MIXED or kind in _CLAMPS:
            tensors = [one for one in node.all_input_nodes if _is_float(one)]
            self._set(node, dict.fromkeys(tensors, self._values))
        elif kind in KEPT:
            first = _first(node)
            self._set(node, {first: self._values}, SharedQuantizationSpec((first, node)))
        elif kind == "cat":
            parts = [one for one in node.all_input_nodes if _is_float(one)]
            shared = SharedQuantizationSpec((parts[0], node))
            marks: dict[Node, Any] = dict.fromkeys(parts, shared)
            marks[parts[0]] = self._values
            self._set(node, marks, shared)

    def _set(self, node: Node, inputs: dict[Node, Any], output: Any = None) -> None:
        """Mark the node; where something alone follows that belongs to it, the rounding comes
        after that."""
        last = node if output is not None else self._last(node)
        if last is not node:
            last.meta[MARK] = QuantizationAnnotation(output_qspec=self._values, _annotated=True)
            node.meta[MARK] = QuantizationAnnotation(input_qspec_map=inputs, _annotated=True)
            return
        node.meta[MARK] = QuantizationAnnotation(
            input_qspec_map=inputs, output_qspec=output or self._values, _annotated=True
        )

    def _last(self, node: Node) -> Node:
        """A clamp behind a layer or a sum, if nobody else reads that; else the node itself."""
        joins = kind_of(node) in (*LAYERS, "add", "add_")
        return self._clamped(node) if joins else node

    def _clamped(self, node: Node) -> Node:
        after = next(iter(node.users)) if len(node.users) == 1 else None
        return after if after is not None and self._takes_in(after) else node

    def _takes_in(self, after: Node) -> bool:
        return after.op == "call_function" and kind_of(after) in _CLAMPS and self._is_ours(after)


def fed_nodes(model: GraphModule) -> set[Node]:
    """What depends on the input's values. Anything else, such as the places that a head's outputs
    speak of, is a constant of the graph, and a pixel of 320 is less than a step of 8 bits."""
    fed: set[Node] = set()
    for node in model.graph.nodes:
        reads = not fed.isdisjoint(node.all_input_nodes) and not _shape_alone(node)
        if node.op == "placeholder" or reads:
            fed.add(node)
    return fed


def _shape_alone(node: Node) -> bool:
    """Whether it takes nothing but the form of its input."""
    name, value = kind_of(node), node.meta.get("val")
    number = isinstance(value, int | float | torch.SymInt | torch.SymFloat)
    return number or name.endswith("_like") or name.startswith("new_")


def _weights(scheme: Scheme) -> QuantizationSpec:
    if scheme.per_channel:
        return QuantizationSpec(
            dtype=torch.int8,
            observer_or_fake_quant_ctr=PerChannelMinMaxObserver.with_args(),
            quant_min=-127,
            quant_max=127,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
        )
    return QuantizationSpec(
        dtype=torch.int8,
        observer_or_fake_quant_ctr=MinMaxObserver.with_args(),
        quant_min=-127,
        quant_max=127,
        qscheme=torch.per_tensor_symmetric,
    )


def _first(node: Node) -> Node:
    first = node.args[0]
    assert isinstance(first, Node)
    return first


def _is_float(node: Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()
