"""Which operators suffer most from 8 bits: each is rounded alone, and outputs are compared.

One calibrated graph serves all: its observers become switches that round or let through, so nothing
is captured again. What counts are the network's raw outputs, not what is read in them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node

from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.equalise import equalise
from cvtrainer.deploy.quantize.folding import folded
from cvtrainer.deploy.quantize.layers import (
    KEPT,
    MARK,
    is_inside,
    kind_of,
    own_path,
)
from cvtrainer.deploy.quantize.ptq import calibrated, rows_of
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quantize.switches import Switch, source_of, switched
from cvtrainer.deploy.quiet import quiet

if TYPE_CHECKING:  # it needs torchao
    from cvtrainer.deploy.quantize.measured import Measured

_PICTURES = 32
"""So many of the sample are compared at most; ranges come from all of it."""
_MOST_NUMBERS = 2**27
"""So many are held at once: half a GiB."""
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


def sensitivities(
    program: Program,
    sample: Iterable[Tensor],
    scheme: Scheme,
    measured: Measured | None = None,
) -> list[Sensitivity]:
    """All operators that the scheme rounds, the most sensitive first."""
    with quiet(), torch.no_grad():
        module = folded(program)
        if scheme.equalise:
            equalise(module)
        batches = list(rows_of(program, sample))
        prepared = calibrated(module, batches, scheme, measured)
        with switched(prepared, on=False) as switches:
            border = _border(prepared)
            runs = [_Run(prepared, batch, border) for batch in _first(prepared, batches)]
            found = []
            for nodes in _operators(prepared):
                mine = _around(nodes, switches)
                if mine:
                    found.append(_sensitivity(nodes, _noise(runs, mine)))
    return sorted(found, key=lambda one: one.decibels)


def _sensitivity(nodes: tuple[Node, ...], noise: float) -> Sensitivity:
    decibels = _QUIETEST_DB if noise <= 0 else min(-10 * math.log10(noise), _QUIETEST_DB)
    names = tuple(node.name for node in nodes)
    return Sensitivity(own_path(nodes[0]), kind_of(nodes[0]), names, decibels)


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


def _around(nodes: tuple[Node, ...], switches: dict[str, Switch]) -> dict[Node, Switch]:
    """What rounds the inputs, weights and output of an operator, where it stands in the graph."""
    near = [*nodes[0].all_input_nodes, *nodes[-1].users]
    mine = {switches[node.name] for node in near if node.name in switches}
    graph = nodes[0].graph
    return {node: switches[node.name] for node in graph.nodes if switches.get(node.name) in mine}


def _border(prepared: GraphModule) -> list[Node]:
    """The values that leave the network: what is outside of it, or the graph's end, reads them."""
    return [node for node in prepared.graph.nodes if _leaves(node)]


def _leaves(node: Node) -> bool:
    source = source_of(node)
    value = source.meta.get("val")
    if source.op != "call_function" or not is_inside(source):
        return False
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return False
    return any(
        user.op == "output" or (user.op == "call_function" and not is_inside(user))
        for user in node.users
    )


class _Run(Interpreter):
    """One batch through the graph in floats, all values kept: what a switch does not reach is not
    computed again."""

    def __init__(self, prepared: GraphModule, batch: Tensor, border: Sequence[Node]) -> None:
        super().__init__(prepared, garbage_collect_values=False)
        self.run(batch)
        self._true = dict(self.env)
        self._border = border

    def shares(self, switches: Mapping[Node, Switch]) -> list[tuple[float, float]]:
        """The power of each output and of what these switches add to it."""
        self.env = dict(self._true)
        moved: set[Node] = set()
        for node in self.graph.nodes:
            if node.op in ("placeholder", "output"):
                continue
            if node in switches or not moved.isdisjoint(node.all_input_nodes):
                self.env[node] = self.run_node(node)
                moved.add(node)
        found = []
        for node in self._border:
            true, away = self._true[node].double(), self._true[node] - self.env[node]
            found.append((float(true.square().sum()), float(away.double().square().sum())))
        return found


def _noise(runs: Sequence[_Run], switches: Mapping[Node, Switch]) -> float:
    """The power of the differences as a share of that of the values; outputs count alike."""
    for one in switches.values():
        one.on = True
    made = [run.shares(switches) for run in runs]
    for one in switches.values():
        one.on = False
    shares = []
    for outputs in zip(*made, strict=True):
        power = sum(one for one, _ in outputs)
        shares.append(sum(away for _, away in outputs) / power if power else 0.0)
    return sum(shares) / max(1, len(shares))


def _first(prepared: GraphModule, batches: Sequence[Tensor]) -> list[Tensor]:
    """So many of the sample that all their values can be held."""
    values = (node.meta.get("val") for node in prepared.graph.nodes)
    each = sum(one[:1].numel() for one in values if isinstance(one, Tensor) and one.ndim > 1)
    left = max(1, min(_PICTURES, _MOST_NUMBERS // max(1, int(each))))
    made: list[Tensor] = []
    for batch in batches:
        made.append(batch[:left])
        left -= len(made[-1])
        if left <= 0:
            break
    return made
