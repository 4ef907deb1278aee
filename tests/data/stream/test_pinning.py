"""Pinned memory: batches are pinned ahead by a thread of its own, which always ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from cvtrainer.data.pipeline import Made
from cvtrainer.data.stream import loader
from cvtrainer.data.stream.pinning import pinned, pinned_value
from cvtrainer.engine.prepare import to_device
from tests.data.stream.makers import Tiles, numbers, stream_of


def batches(count: int, seen: list[int]) -> Iterator[Made]:
    """Batches that say when they are fetched; the one after the last fails."""
    for number in range(count):
        seen.append(number)
        yield Made({"x": torch.tensor([number])})
    raise KeyError("mine")


def pinning_threads() -> int:
    return sum(thread.name == "data-pin" for thread in threading.enumerate())


def test_batches_are_pinned_ahead_and_in_order() -> None:
    threads: set[str] = set()

    def pin(tensor: Tensor) -> Tensor:
        threads.add(threading.current_thread().name)
        return tensor + 100

    seen: list[int] = []
    stream = pinned(batches(40, seen), pin)
    assert [next(stream).batch["x"].item() for _ in range(5)] == [100, 101, 102, 103, 104]
    assert len(seen) <= 5 + 4, "not further ahead than it should be"
    with pytest.raises(KeyError, match="mine"):
        list(stream)
    assert threads == {"data-pin"}
    assert pinning_threads() == 0


def test_leaving_early_ends_the_thread_and_what_it_reads() -> None:
    closed: list[bool] = []

    def endless() -> Iterator[Made]:
        try:
            while True:
                yield Made({"x": torch.zeros(1)})
        finally:
            closed.append(True)

    stream = pinned(endless(), torch.clone)
    next(stream)
    stream.close()
    assert closed == [True]
    assert pinning_threads() == 0


def test_tensors_are_pinned_wherever_they_are() -> None:
    value = {"a": torch.ones(1), "b": [torch.ones(1), {"c": torch.ones(1)}], "d": ["text"], "e": 3}
    out: Any = pinned_value(value, lambda tensor: tensor * 2)
    assert out["a"] == out["b"][0] == out["b"][1]["c"] == 2
    assert out["d"] is value["d"]
    assert out["e"] == 3


class Pair(NamedTuple):
    """As a user's collate may give."""

    left: Any
    right: Any


def test_named_tuples_stay_what_they_are() -> None:
    batch = {"a": Pair(torch.ones(1), [[torch.ones(1)]])}
    out: Any = pinned_value(batch, lambda tensor: tensor * 2)
    assert out["a"].left == out["a"].right[0][0] == 2
    moved: Any = to_device(batch, torch.device("meta"))
    assert moved["a"].left.device.type == moved["a"].right[0][0].device.type == "meta"


@pytest.mark.seed("S0-47")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("asked", "gpu", "pins"),
    [
        (True, True, True),
        (False, True, False),
        (None, True, True),
        (True, False, False),
        (None, False, False),
    ],
)
def test_memory_is_pinned_where_there_is_a_gpu(
    asked: bool | None, gpu: bool, pins: bool, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[bool] = []

    def watched(made: Iterator[Made]) -> Iterator[Made]:
        used.append(True)
        return pinned(made, torch.clone)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(loader, "pinned", watched)
    stream = stream_of(Tiles(), pin_memory=asked, num_workers=workers)
    assert numbers(stream.epoch(1)) == list(range(24))
    next(stream.epoch(2))
    assert numbers(stream.epoch(3)) == list(range(24))
    assert bool(used) is pins
    stream.close()
