"""An epoch's position in samples: taken up where batches are cut otherwise, or told why not."""

from __future__ import annotations

from typing import Any

import pytest

from cvtrainer.data.sampling import BatchPlan, Sequential
from cvtrainer.ddp.world import World
from cvtrainer.engine.clock import Clock
from cvtrainer.engine.position import position, take_up
from tests.toy import BatchList, batches


def clock_at(batch: int) -> Clock:
    clock = Clock()
    clock.open_epoch()
    for _ in range(batch):
        clock.tick(4)
    return clock


def test_data_that_cannot_be_taken_up_at_a_sample_says_so_once() -> None:
    streams: Any = {"train": BatchList(batches(4, 5))}
    told: list[str] = []
    clock = clock_at(2)
    saved = position(streams, clock, World(world_size=2))
    assert saved == {"global_batch": 10, "samples": 20}
    take_up(streams, clock, saved, World(), every=1, say=told.append)
    assert (clock.batch, clock.cut_at, clock.cut_samples) == (2, 0, 0)
    assert len(told) == 1
    assert "samples may come twice or not at all" in told[0]


def test_nothing_changes_where_batches_are_as_before_or_the_epoch_is_over() -> None:
    streams: Any = {"train": BatchList(batches(4, 5))}
    told: list[str] = []
    for clock, world in ((clock_at(2), World()), (Clock(), World(world_size=3))):
        before = clock.state_dict()
        saved = position(streams, clock, World())
        take_up(streams, clock, saved, world, every=1, say=told.append)
        take_up(streams, clock, None, world, every=1, say=told.append)
        assert clock.state_dict() == before
    assert told == []


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_what_lies_behind_some_samples_comes_once_over_all_ranks(
    ranks: int, drop_last: bool
) -> None:
    sampler = Sequential()
    sampler.prepare(range(23))
    plan = BatchPlan(sampler, batch_size=2, seed=0, fill=True, drop_last=drop_last)
    seen: list[int] = []
    for rank in range(ranks):
        own = plan.for_rank(rank, ranks)
        requests = list(own.requests(1, skipped=7))
        assert len(requests) == own.batches_after(7)
        assert list(own.requests(1, start=1, skipped=7)) == requests[1:]
        seen += [n for request in requests if request.weight for n in request.indices]
    whole = 16 // (2 * ranks) * 2 * ranks if drop_last else 16
    assert sorted(seen) == list(range(7, 7 + whole))
