"""Samplers: how often and in which company each sample is shown; all pure in (seed, epoch)."""

from __future__ import annotations

import time
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.index import Index
from cvtrainer.data.sampling import (
    AspectRatio,
    Balanced,
    BatchPlan,
    RepeatFactor,
    Sequential,
    Shuffled,
    Weighted,
)


class Labelled:
    """A data set of labels, sizes and columns only."""

    def __init__(self, labels: Sequence[int] | None = None, **columns: Any) -> None:
        self.index = Index.of(columns) if columns else Index.of({"n": np.zeros(len(labels or ()))})
        self.labels = None if labels is None else np.array(labels)
        self.classes = {"cat": 0, "dog": 1, "emu": 2}

    def __len__(self) -> int:
        return len(self.index)


LONG_TAIL = Labelled([0] * 70 + [1] * 25 + [2] * 5)


def orders() -> list[Any]:
    """One sampler of each kind over the long tail."""
    return [
        Sequential(),
        Shuffled(),
        Balanced(),
        Balanced(rounds=9),
        Weighted(class_weights=[1, 2, 3]),
        Weighted(class_weights=[1, 2, 3], replacement=False),
        RepeatFactor(0.3),
    ]


def numbers(sampler: Any, *, seed: int = 3, epoch: int = 1) -> list[int]:
    """An epoch's order."""
    found = sampler.order(seed, epoch).at(np.arange(sampler.length))
    return [int(number) for number in found]


@pytest.mark.parametrize("sampler", orders(), ids=lambda s: type(s).__name__)
def test_orders_are_pure_and_open_anywhere(sampler: Any) -> None:
    sampler.prepare(LONG_TAIL)
    whole = numbers(sampler)
    assert len(whole) == sampler.length
    assert whole == numbers(sampler)
    some = np.array([sampler.length - 1, 0, 7, sampler.length // 2])
    assert sampler.order(3, 1).at(some).tolist() == [whole[k] for k in some]
    if not isinstance(sampler, Sequential):
        assert whole != numbers(sampler, epoch=2)
        assert whole != numbers(sampler, seed=4)


@pytest.mark.parametrize("sampler", orders(), ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_the_positions_of_any_sampler(sampler: Any, world: int) -> None:
    sampler.prepare(LONG_TAIL)
    plan = BatchPlan(sampler, batch_size=4, seed=3)
    seen: dict[int, int] = {}
    for rank in range(world):
        for request in plan.for_rank(rank, world).requests(1):
            for position, index in zip(request.positions, request.indices, strict=True):
                assert position not in seen
                seen[position] = index
    assert [seen[position] for position in sorted(seen)] == numbers(sampler)


def test_balanced_shows_each_class_equally_often() -> None:
    sampler = Balanced()
    sampler.prepare(LONG_TAIL)
    shown = numbers(sampler)
    assert Counter(LONG_TAIL.labels[shown].tolist()) == {0: 70, 1: 70, 2: 70}
    counts = Counter(shown)
    assert {counts[k] for k in range(70)} == {1}
    assert {counts[k] for k in range(70, 95)} == {2, 3}
    assert {counts[k] for k in range(95, 100)} == {14}
    rounds = LONG_TAIL.labels[shown].reshape(-1, 3)
    assert (np.sort(rounds, axis=1) == [0, 1, 2]).all(), "every three positions hold each class"
    few = Balanced(rounds=10)
    few.prepare(LONG_TAIL)
    assert few.length == 30
    first = {k for k in numbers(few) if k < 70}
    assert len(first) == 10
    assert first != {k for k in numbers(few, epoch=2) if k < 70}


def test_weights_decide_how_often_a_sample_is_drawn() -> None:
    by_name = Weighted(class_weights={"dog": 0, "cat": 1, "emu": 4}, samples=30_000)
    by_name.prepare(LONG_TAIL)
    drawn = Counter(LONG_TAIL.labels[numbers(by_name)].tolist())
    assert drawn[1] == 0
    assert drawn[2] / drawn[0] == pytest.approx(4 * 5 / 70, rel=0.1)
    per_sample = Weighted(sample_weights=np.arange(100.0), samples=100_000)
    per_sample.prepare(LONG_TAIL)
    counts = np.bincount(numbers(per_sample), minlength=100)
    assert counts[0] == 0
    assert np.corrcoef(counts, np.arange(100))[0, 1] > 0.98


def test_without_replacement_nothing_comes_twice_and_heavy_ones_early() -> None:
    sampler = Weighted(sample_weights=[0.0] * 10 + [1.0] * 45 + [9.0] * 45, replacement=False)
    sampler.prepare(LONG_TAIL)
    assert sampler.length == 90
    assert sorted(numbers(sampler)) == list(range(10, 100))
    early = np.mean([np.mean([k >= 55 for k in numbers(sampler, epoch=e)[:30]]) for e in range(50)])
    assert early > 0.75
    column = Weighted(sample_weights="area", replacement=False, samples=2)
    column.prepare(Labelled(area=np.array([0.0, 5.0, 0.1])))
    assert set(numbers(column)) == {1, 2}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "give class_weights or sample_weights"),
        ({"class_weights": [1, 2]}, "2 weights, but there is a class number 2"),
        ({"class_weights": {"cat": 1, "cow": 2}}, "no class 'cow'"),
        ({"class_weights": {"cat": 1}}, "no weight for 'dog'"),
        ({"class_weights": [0, 0, 0]}, "some above 0"),
        ({"sample_weights": [1.0]}, "1 weights for 100 samples"),
        ({"sample_weights": "area"}, "has no column 'area'"),
        ({"class_weights": [1, 1, 0], "replacement": False, "samples": 99}, "only 95 samples"),
    ],
)
def test_wrong_weights_are_named(words: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Weighted(**words).prepare(LONG_TAIL)


def test_rare_classes_are_repeated_by_the_rule() -> None:
    sampler = RepeatFactor(0.4)
    sampler.prepare(LONG_TAIL)
    expected = [1.0] * 70 + [np.sqrt(0.4 / 0.25)] * 25 + [np.sqrt(0.4 / 0.05)] * 5
    np.testing.assert_allclose(sampler.factors, expected)
    assert sampler.length == round(sum(expected))
    epochs = [np.bincount(numbers(sampler, epoch=e), minlength=100) for e in range(400)]
    assert (np.min(epochs, axis=0) == np.floor(expected)).all()
    assert np.max(np.abs(np.mean(epochs, axis=0) - expected)) < 0.1
    assert all(len(numbers(sampler, epoch=e)) == sampler.length for e in range(3))


def test_a_sample_of_many_classes_counts_for_its_rarest() -> None:
    lists = [[0, 0], [0, 1], [0], [], [0, 1], [0], [0, 2], [0], [0], [0]]
    sampler = RepeatFactor(0.4)
    sampler.prepare(Labelled(box_labels=[np.array(k, dtype=np.int64) for k in lists]))
    rare, rarest = np.sqrt(0.4 / 0.2), np.sqrt(0.4 / 0.1)
    np.testing.assert_allclose(sampler.factors, [1, rare, 1, 1, rare, 1, rarest, 1, 1, 1])


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("drop_last", [False, True])
def test_batches_hold_one_shape(world: int, drop_last: bool) -> None:
    heights = np.array([3] * 14 + [1] * 23 + [1] * 4)
    data = Labelled(height=heights, width=np.array([2] * 14 + [2] * 23 + [1] * 4))
    sampler = AspectRatio()
    sampler.prepare(data)
    plan = BatchPlan(sampler, batch_size=4, seed=3, drop_last=drop_last, fill=True)
    parts = [list(plan.for_rank(rank, world).requests(1)) for rank in range(world)]
    own = plan.for_rank(0, world)
    assert {len(part) for part in parts} == {len(own)}
    seen: list[int] = []
    for together in zip(*parts, strict=True):
        real = [request for request in together if request.weight]
        indices = [index for request in real for index in request.indices]
        assert len({bool(heights[k] > 2) for k in indices}) == 1
        assert sum(request.weight for request in together) == pytest.approx(world)
        seen += indices
    assert len(seen) == len(set(seen)) == own.samples
    lost = 14 % (4 * world) + 27 % (4 * world)
    assert own.samples == (41 - lost if drop_last else 41)
    kinds = [bool(heights[request.indices[0]] > 2) for request in plan.requests(1)]
    assert kinds != sorted(kinds), "the batches of the groups are shuffled among each other"
    assert list(plan.requests(1, start=3)) == list(plan.requests(1))[3:]
    assert list(plan.requests(1)) != list(plan.requests(2))


def test_evaluation_by_shape_gives_no_sample_twice() -> None:
    data = Labelled(height=np.array([3] * 9 + [1] * 9), width=np.array([2] * 18))
    sampler = AspectRatio()
    sampler.prepare(data)
    seen: list[int] = []
    for rank in range(4):
        plan = BatchPlan(sampler, batch_size=2, seed=3).for_rank(rank, 4)
        requests = list(plan.requests(1))
        assert len(requests) == len(plan)
        assert list(plan.requests(1, start=1)) == requests[1:]
        seen += [index for request in requests for index in request.indices]
    assert sorted(seen) == list(range(18))


def test_sizes_are_read_from_headers_where_no_column_has_them() -> None:
    class Pictures:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> dict[str, Any]:
            return {"x": np.zeros((4, [2, 8, 9][index], 3), dtype=np.uint8)}

    sampler = AspectRatio([1.0, 2.1])
    sampler.prepare(Pictures())
    groups = {r.indices for r in BatchPlan(sampler, batch_size=4, seed=1).requests(1)}
    assert groups == {(0,), (1,), (2,)}


@pytest.mark.parametrize("name", ["Shuffled", "Balanced", "Weighted"])
def test_ten_million_samples_start_at_once(name: str) -> None:
    labels = np.zeros(10_000_000, dtype=np.int64)
    labels[::1000] = 1
    many = Labelled([0])
    many.labels = labels
    many.__class__ = type("Many", (Labelled,), {"__len__": lambda self: len(labels)})
    made: dict[str, Any] = {
        "Shuffled": Shuffled(),
        "Balanced": Balanced(),
        "Weighted": Weighted(class_weights=[1, 9, 1]),
    }
    sampler = made[name]
    sampler.prepare(many)
    plan = BatchPlan(sampler, batch_size=64, seed=1)
    tracemalloc.start()
    began = time.perf_counter()
    next(plan.requests(2, start=100_000))
    assert time.perf_counter() - began < 1.0
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_data_set_without_labels_says_what_to_give() -> None:
    with pytest.raises(UserError, match="Balanced: Labelled does not say the class of each sample"):
        Balanced().prepare(Labelled(n=[1, 2]))
