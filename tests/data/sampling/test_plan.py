"""The order of an epoch and the parts of the ranks."""

from __future__ import annotations

import time

import numpy as np
import pytest

from cvtrainer.data.sampling import BatchPlan, Sequential, Shuffled
from cvtrainer.data.sampling.sampler import Order


def order(length: int, *, seed: int = 0, epoch: int = 1) -> list[int]:
    """The whole order of an epoch."""
    return [int(k) for k in shuffled(length, seed, epoch).at(np.arange(length))]


def shuffled(length: int, seed: int, epoch: int) -> Order:
    """The shuffled order of so many samples."""
    return sampler_of(length).order(seed, epoch)


def sampler_of(length: int) -> Shuffled:
    """A sampler that has seen a data set of that length."""
    sampler = Shuffled()
    sampler.prepare(range(length))
    return sampler


@pytest.mark.parametrize("length", [1, 2, 3, 10, 1000])
def test_an_order_is_a_permutation_that_depends_on_seed_and_epoch(length: int) -> None:
    assert sorted(order(length)) == list(range(length))
    assert order(length) == order(length)
    if length >= 10:
        assert order(length) != order(length, epoch=2)
        assert order(length) != order(length, seed=1)
        assert order(length) != list(range(length))


def test_every_place_sees_every_sample_about_equally_often() -> None:
    counts = np.zeros((8, 8))
    for epoch in range(2000):
        counts[np.arange(8), order(8, epoch=epoch)] += 1
    assert np.abs(counts / 250 - 1).max() < 0.25


def test_large_sets_need_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cvtrainer.data.sampling.permutation._TABLE_LIMIT", 0)
    for length in (1, 2, 5, 1000, 4097):
        made = shuffled(length, 3, 7)
        whole = made.at(np.arange(length))
        assert sorted(whole.tolist()) == list(range(length))
        some = np.array([length - 1, 0, length // 2])
        np.testing.assert_array_equal(made.at(some), whole[some])
    numbers = np.array(shuffled(100_000, 3, 7).at(np.arange(100_000)))
    steps = np.corrcoef(numbers[:-1], numbers[1:])[0, 1]
    assert abs(steps) < 0.02


def test_seeking_far_into_a_large_epoch_takes_no_time() -> None:
    plan = BatchPlan(sampler_of(1 << 28), batch_size=64, seed=1)
    began = time.perf_counter()
    first = next(plan.requests(3, start=1_000_000))
    assert time.perf_counter() - began < 0.1
    assert first.positions[0] == 64_000_000


@pytest.mark.parametrize("fill", [True, False])
@pytest.mark.parametrize("length", [1, 7, 8, 9, 12, 13, 15, 16, 17])
@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_the_parts_of_the_ranks_make_up_the_epoch(length: int, world: int, fill: bool) -> None:
    plan = BatchPlan(sampler_of(length), batch_size=4, seed=1, fill=fill)
    parts = [list(plan.for_rank(r, world).requests(1)) for r in range(world)]
    assert [len(p) for p in parts] == [len(plan.for_rank(r, world)) for r in range(world)]
    seen: list[int] = []
    for step in range(plan.for_rank(0, world).global_batches):
        own = [p[step] for p in parts if step < len(p)]
        real = [request for request in own if request.weight]
        together = [position for request in real for position in request.positions]
        assert together == list(range(step * 4 * world, min(length, (step + 1) * 4 * world)))
        sizes = [len(r.positions) for r in real]
        assert max(sizes) - min(sizes) <= 1
        together_size = sum(sizes)
        seen += [index for request in real for index in request.indices]
        if fill:
            assert len(own) == world
            assert sum(r.weight for r in own) == pytest.approx(world)
            for request in own:
                assert len(request.positions) >= min(2, together_size)  # BatchNorm needs two
        else:
            assert all(request.weight == 1.0 and request.positions for request in own)
    assert seen == order(length, seed=1)


def test_drop_last_leaves_whole_batches() -> None:
    sampler = Sequential()
    sampler.prepare(range(19))
    plan = BatchPlan(sampler, batch_size=4, seed=1, drop_last=True)
    assert len(plan) == 4
    assert plan.samples == 16
    assert [len(r.indices) for r in plan.requests(1)] == [4] * 4
    assert len(plan.for_rank(1, 2)) == 2


def test_mixing_sees_the_whole_global_batch() -> None:
    plain = BatchPlan(sampler_of(19), batch_size=4, seed=1)
    assert all(not request.batch_indices for request in plain.requests(1))
    for rank in range(2):
        plan = BatchPlan(sampler_of(19), batch_size=4, seed=1, mixing=True).for_rank(rank, 2)
        for number, request in enumerate(plan.requests(3)):
            assert request.begin == 8 * number
            assert len(request.batch_indices) == min(8, 19 - 8 * number)
            for position, index in zip(request.positions, request.indices, strict=True):
                assert request.batch_indices[position - request.begin] == index
