"""Keeps ranks in step whose networks exchange parameters in each forward pass.

In an evaluation a rank may have fewer batches than others, or none. It then goes through its last
one again (or through the first one of rank 0), so that the others get what they wait for. Such a
batch has weight 0 and counts for nobody, like the one of a rank without samples in training.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from cvtrainer.ddp.reduce import broadcast_object, gather_states
from cvtrainer.ddp.world import World
from cvtrainer.protocols import Batch, Stream


def in_lockstep(stream: Stream, world: World) -> Iterator[Batch]:
    """The stream's batches, as many on each rank as on the one that has most."""
    counts: list[int] = gather_states(len(stream), world)
    batches = stream.epoch(1)
    last: Batch | None = None
    if max(counts) and not min(counts):
        first = next(batches, None)
        last = broadcast_object(first, world)
        batches = chain([] if first is None else [first], batches)
    own = 0
    for last in batches:
        own += 1
        yield last
    for _ in range(max(counts) - own):
        assert last is not None, "rank 0 has a batch whenever any rank has one"
        yield {**last, "meta": {**last.get("meta", {}), "weight": 0.0}}
