"""From a module to the planner's graph: exported by torch, then without what a device never sees.

Folded away are BatchNorms behind convolutions and linear layers, clamping activations behind what
they clamp, views, dropout, zero padding of convolutions, and everything that depends on no input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from warnings import catch_warnings, filterwarnings

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram, export
from torch.export.graph_signature import InputKind
from torch.fx import Node
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.planner import kinds
from cvtrainer.deploy.planner.graph import Graph, InPlace, Step, Value, Weight
from cvtrainer.deploy.planner.operators import OperatorWatch, whole_operators

_INDEX_BYTES = 4
"""What torch counts with 64 bits has 32 on a device."""


def capture(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> Graph:
    """The graph of one pass in evaluation; the model is left as it was."""
    with _evaluating(model), torch.no_grad(), whole_operators(), catch_warnings():
        # Recurrent layers keep lists of their weights; what export does to those it undoes.
        filterwarnings("ignore", "The tensor attributes .* were assigned during export")
        try:
            program = export(model, tuple(args), dict(kwargs or {}))
        except Exception as error:  # whatever the model's own code or torch makes of it
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(
                f"{type(model).__name__} cannot be exported with this input: {reason}",
                todo="Only the operations of a graph can be planned; see the error above it.",
            ) from error
        return _Reading(program).graph()


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@dataclass
class _Draft:
    """A step that may still take in what follows it."""

    where: str
    kind: str
    reads: list[int]
    writes: list[int]
    last: Node
    over: list[int] = field(default_factory=list)
    over_as: InPlace = InPlace.ELEMENTWISE
    parts: list[int] = field(default_factory=list)
    macs: int = 0
    weights: dict[str, Weight] = field(default_factory=dict)

    def step(self) -> Step:
        return Step(
            self.where,
            self.kind,
            tuple(self.reads),
            tuple(self.writes),
            tuple(self.over),
            self.over_as,
            tuple(self.parts),
            self.macs,
            tuple(self.weights.values()),
        )


class _Reading:
    """Goes through an exported program once, in its order."""

    def __init__(self, program: ExportedProgram) -> None:
        self._program = program
        self._values: list[Value] = []
        self._drafts: list[_Draft] = []
        self._places: dict[Node, list[int]] = {}
        self._constants: dict[Node, str] = {}
        self._makers: dict[int, _Draft] = {}
        self._inputs: list[int] = []
        self._outputs: list[int] = []
        self._folded: Counter[str] = Counter()

    def graph(self) -> Graph:
        names = {
            spec.arg.name: spec.target
            for spec in self._program.graph_signature.input_specs
            if spec.kind is not InputKind.USER_INPUT
        }
        filled = _filled(self._program.graph.nodes, names)
        state: list[int] = []
        for node in self._program.graph.nodes:
            if node.op == "placeholder" and node.name in names and node not in filled:
                self._constants[node] = names[node.name] or node.name
            elif node.op == "placeholder":
                self._places[node] = [self._value("", node.name, one) for one in _made(node)]
                self._inputs += self._places[node]
                state += self._places[node] if node.name in names else []
            elif node.op == "get_attr":
                self._constants[node] = str(node.target)
            elif node.op == "output":
                given = [place for one in node.all_input_nodes for place in self._place(one)]
                self._outputs = list(dict.fromkeys((*given, *state)))
            elif _made(node):
                self._operator(node, is_filled=node in filled)
        return Graph(
            tuple(self._values),
            tuple(draft.step() for draft in self._needed()),
            tuple(self._inputs),
            tuple(self._outputs),
            dict(self._folded),
        )

    def _needed(self) -> list[_Draft]:
        """Without the steps whose results nobody reads."""
        read, kept = set(self._outputs), []
        for draft in reversed(self._drafts):
            if kinds.changes_its_input(draft.last) or not read.isdisjoint(draft.writes):
                read.update(draft.reads)
                kept.append(draft)
        return kept[::-1]

    def _operator(self, node: Node, *, is_filled: bool) -> None:
        kind = kinds.kind_of(node)
        constant = all(one in self._constants for one in node.all_input_nodes)
        if constant and not is_filled and not kinds.is_random(node):
            self._constants[node] = node.name
            return
        first = next(iter(node.all_input_nodes), None)
        if first is None:
            self._new_step(node, kind)
        elif kind == "<built-in function getitem>":
            self._places[node] = [self._place(first)[int(node.args[1])]]  # type: ignore[arg-type]
        elif first in self._places and self._is_gone(node, kind, first):
            self._places[node] = self._place(first)
        else:
            self._new_step(node, kind)

    def _is_gone(self, node: Node, kind: str, first: Node) -> bool:
        """Whether no step is left of it; what it adds to the step before it is put there."""
        given, made = _made(first)[0], _made(node)
        if len(made) == 1 and kinds.is_view(node, kind, given, made[0]):
            self._folded["views"] += 1
            return True
        if kinds.pads_with_zero(node, kind) and all(
            kinds.kind_of(user).startswith("conv") and user.args[0] is node for user in node.users
        ):
            self._folded["paddings"] += 1
            return True
        draft = self._makers.get(self._place(first)[0])
        if draft is None or draft.last is not first or len(first.users) > 1:
            return False
        if kind in kinds.NORMS and draft.kind in kinds.LAYERS:
            return self._fold_norm(draft, node, first)
        clamps = kind in kinds.CLAMPS and draft.kind in kinds.CLAMPED
        if clamps and len(node.all_input_nodes) == 1:
            self._folded["activations"] += 1
            draft.last = node
            return True
        return False

    def _fold_norm(self, draft: _Draft, node: Node, layer: Node) -> bool:
        weight = (*layer.args, layer.kwargs.get("weight"))[1]
        if not isinstance(weight, Node) or len(weight.users) > 1 or weight not in self._constants:
            return False
        self._folded["norms"] += 1
        draft.last = node
        if all(one.is_matrix for one in draft.weights.values()):
            name = f"{self._constants[weight]}.folded_bias"
            draft.weights[name] = Weight(name, _made(node)[0].shape[1], is_matrix=False)
        return True

    def _new_step(self, node: Node, kind: str) -> None:
        where, made = _where(node), _made(node)
        given = [one for one in node.all_input_nodes if one in self._places]
        draft = _Draft(
            where,
            "batch_norm" if kind in kinds.NORMS else kind,
            list(dict.fromkeys(place for one in given for place in self._place(one))),
            [self._value(where, kind, one) for one in made],
            node,
        )
        if kinds.is_pointwise(node, kind) or kind in kinds.NORMS:
            sizes = {place: one for item in given for place, one in self._tensors(item)}
            draft.over = [place for place in draft.reads if sizes[place].numel() == made[0].numel()]
        elif kind in kinds.JOINS:
            draft.parts = draft.reads
        else:
            draft.macs = self._macs(node)
        if kind == kinds.ATTENTION:
            self._add_scores(draft, node)
        self._take_weights(draft, node, kind)
        self._drafts.append(draft)
        self._makers.update(dict.fromkeys(draft.writes, draft))
        self._places[node] = draft.writes[: len(made)]

    def _add_scores(self, draft: _Draft, node: Node) -> None:
        """The table of every query with every key, which is there while attention runs."""
        given = [one for one in (*node.args, *node.kwargs.values()) if isinstance(one, Node)]
        query, key = (_made(one)[0] for one in given[:2])
        scores = query.new_empty((*query.shape[:-1], key.shape[-2]))
        draft.writes.append(self._value(draft.where, "scores", scores))

    def _take_weights(self, draft: _Draft, node: Node, kind: str) -> None:
        if kind in kinds.NORMS:
            channels = _made(node)[0].shape[1]
            for part in ("scale", "shift"):
                name = f"{draft.where}.{part}"
                draft.weights[name] = Weight(name, channels, is_matrix=False)
            return
        for one in node.all_input_nodes:
            if one not in self._constants:
                continue
            for tensor in _made(one):
                has_channels = kind in kinds.LAYERS | kinds.RECURRENT and tensor.ndim > 1
                channels = 0 if not has_channels else _channels(node, kind, tensor)
                name = self._constants[one]
                draft.weights[name] = Weight(name, tensor.numel(), tensor.ndim > 1, channels)
                if kind in kinds.LAYERS and kinds.depthwise(
                    kind, _made(node.all_input_nodes[0])[0], _made(node)[0], tensor
                ):
                    draft.over, draft.over_as = draft.reads[:1], InPlace.DEPTHWISE

    def _macs(self, node: Node) -> int:
        """Of the operator as the exporter saw it, run once more on tensors without content."""
        counted = 0

        def seen(macs: int, given: Any, out: Any) -> None:
            nonlocal counted
            counted += macs

        def content(one: Node) -> Any:
            return one.meta.get("val", getattr(self._program.graph_module, str(one.target), None))

        example: Any = _made(node)[0]
        target: Any = node.target
        with example.fake_mode, OperatorWatch(seen):
            target(*map_arg(node.args, content), **map_arg(node.kwargs, content))
        return counted

    def _place(self, node: Node) -> list[int]:
        return self._places.get(node, [])

    def _tensors(self, node: Node) -> list[tuple[int, Tensor]]:
        return list(zip(self._place(node), _made(node), strict=True))

    def _value(self, where: str, kind: str, tensor: Tensor) -> int:
        size = None if tensor.is_floating_point() else min(tensor.element_size(), _INDEX_BYTES)
        self._values.append(Value(where, kind, tuple(tensor.shape), size))
        return len(self._values) - 1


def _filled(nodes: Iterable[Node], constants: Collection[str]) -> set[Node]:
    """What depends on no input until a step writes into it what does, and the views of it."""
    depends: set[Node] = set()
    found: set[Node] = set()
    for node in nodes:
        given = node.all_input_nodes
        if node.op == "placeholder" and node.name not in constants:
            depends.add(node)
        if node.op != "call_function" or depends.isdisjoint(given):
            continue
        depends.add(node)
        base = node.args[0] if kinds.writes_into(node) and node.args else None
        while isinstance(base, Node) and base not in depends:
            depends.add(base)
            found.add(base)
            base = next(iter(base.all_input_nodes), None) if kinds.shares_memory(base) else None
    return found


def _made(node: Node) -> list[Tensor]:
    """What a node gives, without its numbers."""
    return [one for one in tree_leaves(node.meta.get("val")) if isinstance(one, Tensor)]


def _where(node: Node) -> str:
    """Path of the innermost module that made it."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]).split("@")[0] if stack else ""


def _channels(node: Node, kind: str, weight: Tensor) -> int:
    """Output channels, each with a scale of its own."""
    return _made(node)[0].shape[1] if "transpose" in kind else weight.shape[0]
