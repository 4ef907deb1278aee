"""The plan against a simulation that executes the network node by node and counts what is alive.

The simulation shares nothing with the planner: it reads the network's data form, keeps blocks of
memory with the names that are in them, and frees a block when none of its names is needed again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import combinations

import pytest
import torch

from cvtrainer.deploy.planner.arena import arrange
from cvtrainer.deploy.planner.capture import capture
from cvtrainer.deploy.planner.graph import InPlace, Precision, Rules
from cvtrainer.deploy.planner.lifetimes import buffers_of
from cvtrainer.deploy.planner.plan import plan_graph
from tests.deploy.planner.random_nets import Op, RandomNet, random_net


@dataclass(eq=False)
class Block:
    """Memory, with the names of all that was ever put in it."""

    size: int
    names: set[int] = field(default_factory=set)
    foreign: bool = False
    """Filled or read by others than the nodes."""


def bytes_of(op: Op) -> int:
    return op.channels * op.side * op.side


def clamped_away(ops: list[Op], outputs: Collection[int]) -> dict[int, int]:
    """A relu behind an add or a convolution that only it reads: the kernel does it itself."""
    gone: dict[int, int] = {}
    for number, op in enumerate(ops):
        if op.kind != "relu":
            continue
        source = op.reads[0]
        readers = [one for other in ops for one in other.reads if one == source]
        if ops[source].kind in ("conv", "block", "add") and readers == [source]:
            if source not in outputs:
                gone[number] = source
        elif ops[source].kind == "relu" and source in gone and readers == [source]:
            gone[number] = source
    return gone


def simulate(ops: list[Op], outputs: list[int], allowed: Collection[InPlace]) -> int:
    """The most bytes alive while any one node runs."""
    gone = clamped_away(ops, outputs)

    def name(place: int) -> int:
        while place in gone:
            place = gone[place]
        return place

    wanted = {name(one) for one in outputs}
    nodes = [number for number in range(1, len(ops)) if number not in gone]
    needed_after: list[set[int]] = []
    needed = set(wanted)
    for number in reversed(nodes):
        needed_after.insert(0, set(needed))
        needed |= {name(one) for one in ops[number].reads}

    where = {0: Block(bytes_of(ops[0]), {0}, foreign=True)}
    parts: set[int] = set()
    """What lies inside the result of a concatenation already."""
    alive = [where[0]]
    seen_alive: list[list[Block]] = []
    for later, number in zip(needed_after, nodes, strict=True):
        op = ops[number]
        reads = [name(one) for one in op.reads]
        reused = None
        if InPlace.ELEMENTWISE in allowed and op.kind in ("add", "relu", "swish"):
            free = [where[one] for one in reads if not where[one].names & later]
            reused = next((one for one in free if one.size == bytes_of(op)), None)
        target = reused or Block(bytes_of(op))
        if reused is None:
            alive.append(target)
        target.names.add(number)
        target.foreign |= number in wanted
        where[number] = target
        seen_alive.append(alive)
        if InPlace.CONCAT in allowed and op.kind == "cat":
            for one in dict.fromkeys(reads):
                part = where[one]
                if not part.foreign and one not in parts:
                    parts |= part.names
                    join(part, target, seen_alive, where)
        alive = [one for one in seen_alive[-1] if one.names & later]
    return max(sum(one.size for one in held) for held in seen_alive)


def join(part: Block, whole: Block, seen_alive: list[list[Block]], where: dict[int, Block]) -> None:
    """Put a part into the whole: since the part was made, the whole was there in its stead."""
    since = next(at for at, held in enumerate(seen_alive) if part in held)
    for at in range(since, len(seen_alive)):
        rest = [one for one in seen_alive[at] if one is not part and one is not whole]
        seen_alive[at] = [*rest, whole]
    whole.names |= part.names
    where.update(dict.fromkeys(part.names, whole))


@pytest.mark.parametrize("seed", range(50))
def test_the_plan_equals_the_simulation(seed: int) -> None:
    ops, outputs = random_net(seed)
    net = RandomNet(ops, outputs)
    graph = capture(net, (torch.zeros(1, ops[0].channels, ops[0].side, ops[0].side),))
    for count in range(3):
        for allowed in combinations((InPlace.ELEMENTWISE, InPlace.CONCAT), count):
            planned = plan_graph(graph, Rules(Precision.INT8, allowed, alignment=1))
            assert planned.held_bytes == simulate(ops, outputs, allowed), allowed
            four = plan_graph(graph, Rules(Precision.FLOAT, allowed, alignment=1))
            assert four.held_bytes == 4 * planned.held_bytes


@pytest.mark.parametrize("seed", range(0, 50, 5))
def test_no_two_buffers_overlap_in_the_arena(seed: int) -> None:
    ops, outputs = random_net(seed)
    example = torch.zeros(1, ops[0].channels, ops[0].side, ops[0].side)
    buffers = buffers_of(capture(RandomNet(ops, outputs), (example,)), Rules())
    arena = arrange(buffers)
    both = list(zip(arena.offsets, buffers, strict=True))
    for (low, one), (high, other) in combinations(sorted(both, key=lambda pair: pair[0]), 2):
        apart = one.dies < other.born or other.dies < one.born
        assert apart or low + one.bytes <= high
    assert max(at + one.bytes for at, one in both) == arena.bytes == min(arena.by_order.values())
