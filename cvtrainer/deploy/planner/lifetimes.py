"""Which memory is held from which step to which, and where the most of it is held at a time.

Several values may live in one buffer, one after the other where a step writes over its operand, or
side by side where a concatenation's parts are made in place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cvtrainer.deploy.planner.graph import Graph, InPlace, Rules, Step


@dataclass
class Buffer:
    """Memory for some values; held in the steps from `born` to `dies`, both included."""

    bytes: int
    born: int
    dies: int
    values: list[int]
    outside: bool = False
    """Whether it is filled or read outside the graph."""


def buffers_of(graph: Graph, rules: Rules) -> list[Buffer]:
    """The buffers of a graph, in the order in which they are needed."""
    return _Sharing(graph, rules).buffers()


def held_at(buffers: Sequence[Buffer], step: int) -> list[Buffer]:
    """What is held while a step runs."""
    return [one for one in buffers if one.born <= step <= one.dies]


def held_per_step(graph: Graph, buffers: Sequence[Buffer]) -> list[int]:
    """Bytes held in each step; no arrangement in memory can do with less."""
    change: Counter[int] = Counter()
    for one in buffers:
        change[one.born] += one.bytes
        change[one.dies + 1] -= one.bytes
    held, total = [], 0
    for step in range(max(1, len(graph.steps))):
        total += change[step]
        held.append(total)
    return held


class _Sharing:
    """Gives every value a buffer, in the order of execution."""

    def __init__(self, graph: Graph, rules: Rules) -> None:
        self._graph = graph
        self._rules = rules
        self._last = _last_reads(graph)
        self._home: dict[int, Buffer] = {}
        self._joined: set[int] = set()

    def buffers(self) -> list[Buffer]:
        outputs = set(self._graph.outputs)
        for value in self._graph.inputs:
            self._home[value] = self._own(value, 0, outside=True)
        for at, step in enumerate(self._graph.steps):
            if not self._write_over(at, step):
                for value in step.writes:
                    self._home[value] = self._own(value, at, outside=value in outputs)
                if step.parts and InPlace.CONCAT in self._rules.in_place:
                    self._join(step)
        unique = {id(one): one for one in self._home.values()}
        return sorted(unique.values(), key=lambda one: one.born)

    def _own(self, value: int, at: int, *, outside: bool) -> Buffer:
        return Buffer(self._size(value), at, self._last.get(value, at), [value], outside)

    def _size(self, value: int) -> int:
        size = self._graph.values[value].bytes(self._rules.precision)
        return -(-size // self._rules.alignment) * self._rules.alignment

    def _write_over(self, at: int, step: Step) -> bool:
        """Make the result where an operand dies; tells whether there is one."""
        if step.over_as not in self._rules.in_place or len(step.writes) != 1:
            return False
        made = step.writes[0]
        for operand in step.over:
            home = self._home[operand]
            size, wanted = self._size(operand), self._size(made)
            fits = size == wanted if step.over_as is InPlace.ELEMENTWISE else size >= wanted
            if fits and home.dies == at and home.bytes == size:
                home.values.append(made)
                home.dies = self._last.get(made, at)
                home.outside = home.outside or made in self._graph.outputs
                self._home[made] = home
                return True
        return False

    def _join(self, step: Step) -> None:
        """Make the parts where they belong in the result; parts that cannot be are copied."""
        made = step.writes[0]
        whole = self._home[made]
        for part in step.parts:
            home = self._home[part]
            placed = not home.outside and part not in self._joined and home is not whole
            if not placed or home.bytes != self._size(part):
                continue
            whole.born = min(whole.born, home.born)
            whole.dies = max(whole.dies, home.dies)
            whole.values = [*home.values, *whole.values]
            for value in home.values:
                self._home[value] = whole
                self._joined.add(value)


def _last_reads(graph: Graph) -> dict[int, int]:
    """The step that reads a value last; outputs are read after all of them."""
    last = {value: at for at, step in enumerate(graph.steps) for value in step.reads}
    last.update(dict.fromkeys(graph.outputs, max(0, len(graph.steps) - 1)))
    return last
