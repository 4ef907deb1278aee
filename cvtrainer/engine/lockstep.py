"""Keeps ranks in step whose networks exchange parameters in each forward pass.

In an evaluation a rank may have fewer batches than others, or none. It then goes through its last
one again (or through one of rank 0's), so that the others get what they wait for; what comes out
counts for nobody.
"""

from __future__ import annotations

from collections.abc import Iterator

from cvtrainer.ddp.reduce import broadcast_object, gather_states
from cvtrainer.ddp.world import World
from cvtrainer.protocols import Batch


def fillers(batches: int, last: Batch | None, world: World) -> Iterator[Batch]:
    """As many as this rank, which has gone through so many, lacks to the longest one."""
    counts: list[int] = gather_states(batches, world)
    if not max(counts):
        return
    if not min(counts):
        lent = broadcast_object(last, world)
        last = lent if last is None else last
    assert last is not None, "rank 0 has a batch whenever any rank has"
    for _ in range(max(counts) - batches):
        yield last
