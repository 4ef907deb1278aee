"""How far an epoch has come, told in samples of its global order, whatever batches they came in.

So a run goes on with another number of processes or another batch size where it stopped: what is
left of the epoch is cut into batches anew, and no sample comes twice or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cvtrainer.ddp.world import World
from cvtrainer.engine.clock import Clock
from cvtrainer.protocols import Batch, State, Stream

Streams = Mapping[str, Stream]


def position(streams: Streams, clock: Clock, world: World) -> State:
    """For a checkpoint."""
    size = _global_batch(streams.get("train"), world)
    return {
        "global_batch": size,
        "samples": clock.cut_samples + (clock.batch - clock.cut_at) * size,
    }


def take_up(
    streams: Streams,
    clock: Clock,
    saved: State | None,
    world: World,
    *,
    every: int,
    say: Callable[[str], None],
) -> None:
    """Bring the clock to that position if batches are cut otherwise now; `every` make one step."""
    stream = streams.get("train")
    size = _global_batch(stream, world)
    if stream is None or saved is None or clock.closed or saved["global_batch"] == size:
        return
    count: Callable[[int], int | None] | None = getattr(stream, "batches_after", None)
    left = None if count is None else count(saved["samples"])
    if left is None:
        say(
            f"resume: a global batch held {saved['global_batch']} samples and holds {size} now, "
            f"and this data cannot be taken up at a sample: epoch {clock.epoch} goes on with "
            f"batch {clock.batch + 1}, so samples may come twice or not at all in it"
        )
        return
    inside = (clock.batch - clock.cut_at + clock.cut_inside) % every
    clock.cut(at=len(stream) - left, samples=saved["samples"], inside=inside)


def rest_of_epoch(stream: Stream, clock: Clock) -> Iterator[Batch]:
    """The batches still to come."""
    if not clock.cut_samples:
        return stream.epoch(clock.epoch, start=clock.batch)
    seekable: Any = stream
    batches: Iterator[Batch] = seekable.epoch(
        clock.epoch, start=clock.batch - clock.cut_at, skipped=clock.cut_samples
    )
    return batches


def _global_batch(stream: Stream | None, world: World) -> int:
    return 0 if stream is None else stream.batch_size * world.world_size
