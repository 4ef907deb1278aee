"""Which operators suffer most from 8 bits: each is rounded alone, and outputs are compared.

One calibrated graph serves all: its observers become switches that round or let through, so nothing
is captured again. What counts are the network's raw outputs, not what is read in them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.annotate import KEPT, MARK
from cvtrainer.deploy.quantize.equalise import equalise
from cvtrainer.deploy.quantize.layers import folded, is_inside, kind_of, own_path
from cvtrainer.deploy.quantize.ptq import calibrated, rows_of
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quiet import quiet

_PICTURES = 32
"""So many of the sample are compared; ranges come from all of it."""
_QUIETEST_DB = 200.0


class Sensitivity(NamedTuple):
    """An operator by its module's path and kind, the graph's nodes it stands for, and how far the
    outputs are above the noise when it alone has 8 bits."""

    path: str
    kind: str
    nodes: tuple[str, ...]
    decibels: float

    @property
    def name(self) -> str:
        """For people; a path alone would not tell the operators of one forward apart."""
        where = self.path or "the network's own forward"
        return f"{where} ({self.kind})"


def sensitivities(program: Program, sample: Iterable[Tensor], scheme: Scheme) -> list[Sensitivity]:
    """All operators that the scheme rounds, the most sensitive first."""
    with quiet(), torch.no_grad():
        module = folded(program)
        if scheme.equalise:
            equalise(module)
        batches = list(rows_of(program, sample))
        prepared = calibrated(module, batches, scheme)
        switches = _switches(prepared)
        few = _first(batches, _PICTURES)
        border = _Border(prepared)
        true = [border.values(batch) for batch in few]
        found = []
        for nodes in _operators(prepared):
            mine = _around(prepared, nodes, switches)
            if not mine:
                continue
            for one in mine:
                one.on = True
            noise = _noise(true, [border.values(batch) for batch in few])
            for one in mine:
                one.on = False
            decibels = _QUIETEST_DB if noise <= 0 else min(-10 * math.log10(noise), _QUIETEST_DB)
            names = tuple(node.name for node in nodes)
            found.append(Sensitivity(own_path(nodes[0]), kind_of(nodes[0]), names, decibels))
    return sorted(found, key=lambda one: one.decibels)


class _Switch(nn.Module):
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


def _switches(prepared: GraphModule) -> dict[str, _Switch]:
    """In the place of every observer, by its name in the graph; shared ones stay shared."""
    made: dict[nn.Module, _Switch] = {}
    named: dict[str, _Switch] = {}
    for node in prepared.graph.nodes:
        if node.op == "call_module":
            observer = prepared.get_submodule(str(node.target))
            if hasattr(observer, "calculate_qparams"):
                named[node.name] = made.setdefault(observer, _Switch(observer))
                setattr(prepared, str(node.target), named[node.name])
            elif isinstance(observer, _Switch):
                named[node.name] = observer
    return named


def _operators(prepared: GraphModule) -> list[tuple[Node, ...]]:
    """Each that is rounded, with the clamp that is rounded in its place; views follow others."""
    found: list[tuple[Node, ...]] = []
    taken: set[Node] = set()
    for node in prepared.graph.nodes:
        if MARK not in node.meta or node.op != "call_function" or node in taken:
            continue
        if kind_of(node) in KEPT:
            continue
        after = next(iter(node.users)) if len(node.users) == 1 else None
        joined = after is not None and MARK in after.meta and after.op == "call_function"
        nodes = (node, after) if joined and after is not None else (node,)
        taken.update(nodes)
        found.append(nodes)
    return found


def _around(
    prepared: GraphModule, nodes: tuple[Node, ...], switches: dict[str, _Switch]
) -> list[_Switch]:
    """What rounds the inputs, weights and output of an operator."""
    places = [*nodes[0].all_input_nodes, *nodes[-1].users]
    return list({id(one): one for node in places if (one := switches.get(node.name))}.values())


class _Border:
    """The values that leave the network: what is outside of it, or the graph's end, reads them."""

    def __init__(self, prepared: GraphModule) -> None:
        self._prepared = prepared
        self._nodes = {node for node in prepared.graph.nodes if self._leaves(node)}

    def _leaves(self, node: Node) -> bool:
        source = node
        while source.op == "call_module" and source.all_input_nodes:
            source = source.all_input_nodes[0]
        if source.op != "call_function" or not is_inside(source):
            return False
        return any(
            user.op == "output" or (user.op == "call_function" and not is_inside(user))
            for user in node.users
        )

    def values(self, batch: Tensor) -> list[Tensor]:
        """For one batch, in the graph's order."""
        kept: dict[Node, Tensor] = {}
        nodes = self._nodes

        class Keeping(Interpreter):
            def run_node(self, n: Node) -> object:
                made = super().run_node(n)
                if n in nodes and isinstance(made, Tensor) and made.is_floating_point():
                    kept[n] = made
                return made

        Keeping(self._prepared).run(batch)
        return list(kept.values())


def _noise(true: Sequence[Sequence[Tensor]], made: Sequence[Sequence[Tensor]]) -> float:
    """The power of the differences as a share of that of the values; outputs count alike."""
    shares = []
    for number in range(len(true[0])):
        outputs = [(one[number], other[number]) for one, other in zip(true, made, strict=True)]
        power = sum(float(one.double().square().sum()) for one, _ in outputs)
        away = sum(float((one - other).double().square().sum()) for one, other in outputs)
        shares.append(away / power if power else 0.0)
    return sum(shares) / max(1, len(shares))


def _first(batches: Sequence[Tensor], count: int) -> list[Tensor]:
    made: list[Tensor] = []
    for batch in batches:
        left = count - sum(len(one) for one in made)
        if left <= 0:
            break
        made.append(batch[:left])
    return made
