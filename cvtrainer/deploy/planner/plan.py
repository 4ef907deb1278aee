"""What a network needs on a device, before it is trained, exported or quantised.

Told is what the tensors need. A runtime's own memory, the scratch memory of its kernels and its
code come on top; they belong to the runtime and are not guessed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

from torch import nn

from cvtrainer.deploy.planner.arena import Arena, arrange
from cvtrainer.deploy.planner.capture import capture
from cvtrainer.deploy.planner.graph import Graph, InPlace, Rules
from cvtrainer.deploy.planner.lifetimes import Buffer, buffers_of, held_at, held_per_step


@dataclass(frozen=True)
class Held:
    """A tensor that is in memory when the most memory is held; `since` is the step it is from."""

    name: str
    shape: tuple[int, ...]
    bytes: int
    role: str


@dataclass(frozen=True)
class Layer:
    """One step of the plan: `held_bytes` are all activations in memory while it runs, `moved_bytes`
    those that it reads and writes."""

    name: str
    kind: str
    shape: tuple[int, ...]
    macs: int
    weight_bytes: int
    held_bytes: int
    moved_bytes: int


@dataclass(frozen=True)
class Plan:
    """All sizes in bytes. `arena_bytes` is what a static plan needs; `held_bytes`, the most that is
    held at a time, is what no plan can do without.

    `by_order` are arenas of other orders of placing, `by_rules` those of other rules.
    """

    precision: str
    in_place: tuple[str, ...]
    inputs: tuple[tuple[int, ...], ...]
    held_bytes: int
    arena_bytes: int
    order: str
    by_order: dict[str, int]
    by_rules: dict[str, int]
    weight_bytes: int
    scale_bytes: int
    macs: int
    peak: str
    peak_tensors: tuple[Held, ...]
    layers: tuple[Layer, ...]
    folded: dict[str, int] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Weights, biases and scales: what lies in flash beside the code."""
        return self.weight_bytes + self.scale_bytes

    def as_plain(self) -> dict[str, Any]:
        """All of it, for a file."""
        return {**asdict(self), "size_bytes": self.size_bytes}

    def brief(self) -> dict[str, Any]:
        """What an estimate for a device needs, for a contract."""
        words = ("name", "kind", "macs", "weight_bytes", "moved_bytes")
        return {
            "precision": self.precision,
            "ram_bytes": self.arena_bytes,
            "flash_bytes": self.size_bytes,
            "macs": self.macs,
            "layers": [{word: getattr(one, word) for word in words} for one in self.layers],
        }


def plan(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    *,
    rules: Rules | None = None,
) -> Plan:
    """Export the model for this input and plan its memory; it is left as it was."""
    return plan_graph(capture(model, args, kwargs), rules or Rules())


def plan_graph(graph: Graph, rules: Rules) -> Plan:
    """The plan of a graph under these rules."""
    buffers = buffers_of(graph, rules)
    arena, held = arrange(buffers), held_per_step(graph, buffers)
    fullest = held.index(max(held))
    weights = graph.weights()
    precision = rules.precision
    return Plan(
        precision=precision.value,
        in_place=tuple(one.value for one in InPlace if one in rules.in_place),
        inputs=tuple(graph.values[value].shape for value in graph.inputs),
        held_bytes=max(held),
        arena_bytes=arena.bytes,
        order=arena.order,
        by_order=arena.by_order,
        by_rules=_by_rules(graph, rules, arena),
        weight_bytes=sum(one.bytes(precision) for one in weights),
        scale_bytes=sum(one.scale_bytes(precision) for one in weights),
        macs=graph.macs,
        peak=graph.steps[fullest].name if graph.steps else "input",
        peak_tensors=tuple(_held(graph, one, fullest) for one in held_at(buffers, fullest)),
        layers=tuple(_layers(graph, rules, held)),
        folded=dict(graph.folded),
    )


def _layers(graph: Graph, rules: Rules, held: Sequence[int]) -> list[Layer]:
    return [
        Layer(
            step.where,
            step.kind,
            graph.values[step.writes[0]].shape,
            step.macs,
            sum(
                one.bytes(rules.precision) + one.scale_bytes(rules.precision)
                for one in step.weights
            ),
            bytes_,
            sum(
                graph.values[value].bytes(rules.precision)
                for value in (*dict.fromkeys(step.reads), *step.writes)
            ),
        )
        for step, bytes_ in zip(graph.steps, held, strict=False)
    ]


def _held(graph: Graph, buffer: Buffer, at: int) -> Held:
    """By the value that is in the buffer at that step: the one written last until then."""
    step = graph.steps[at] if graph.steps else None
    written = {value for one in graph.steps[: at + 1] for value in one.writes}
    present = [one for one in buffer.values if one in written or one in graph.inputs]
    value = (present or buffer.values)[-1]
    reads, writes = (step.reads, step.writes) if step else ((), ())
    if value in writes:
        role = "written"
    elif any(one in reads for one in present):
        role = "read"
    else:
        role = "kept for later"
    item = graph.values[value]
    return Held(item.name, item.shape, buffer.bytes, role)


def _by_rules(graph: Graph, rules: Rules, arena: Arena) -> dict[str, int]:
    """What runtimes with more or fewer abilities would need."""
    found: dict[str, int] = {}
    for count in range(len(InPlace) + 1):
        for allowed in combinations(InPlace, count):
            name = ", ".join(one.value for one in allowed) or "none"
            if set(allowed) == set(rules.in_place):
                found[name] = arena.bytes
                continue
            other = Rules(rules.precision, allowed, rules.alignment)
            found[name] = arrange(buffers_of(graph, other)).bytes
    return found
