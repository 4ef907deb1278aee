"""Threads that make batches: who they are, that they live on, and that nothing hangs."""

from __future__ import annotations

import gc
import threading
import time

import pytest
import torch

from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.data.pipeline import Parts
from cvtrainer.data.stream import LoaderStream
from tests.data.stream.makers import Slow, Tiles, Unsafe, numbers, stream_of


def data_threads() -> set[threading.Thread]:
    """Threads of crews that are alive."""
    return {one for one in threading.enumerate() if one.name.startswith("data-")}


@pytest.mark.seed("S1-78")
def test_epochs_are_whole_and_threads_live_on() -> None:
    data = Tiles(22)
    stream = stream_of(data, num_workers=2)
    assert stream.mode == "threads"
    before = data_threads()
    assert numbers(stream.epoch(1)) == list(range(22))
    alive = data_threads()
    assert len(alive - before) == 2
    for epoch in (2, 3):
        batches = list(stream.epoch(epoch))
        assert [len(batch["meta"]["index"]) for batch in batches] == [4, 4, 4, 4, 4, 2]
        assert all(
            (batch["x"][:, 0, 0, 0] == batch["target"]["class_id"]).all() for batch in batches
        )
    assert data_threads() == alive
    stream.close()
    assert data_threads() == before
    assert data.threads <= {"data-0", "data-1"}


@pytest.mark.seed("S1-78")
def test_an_exception_surfaces_in_its_place_with_the_sample() -> None:
    stream = stream_of(Tiles(at=9, does="raise"), num_workers=3)
    epoch = stream.epoch(1)
    assert numbers([next(epoch), next(epoch)]) == list(range(8))
    with pytest.raises(KeyError, match="mine") as error:
        next(epoch)
    assert "while making sample 9 (Tiles[9])" in "\n".join(error.value.__notes__)
    assert numbers(stream.epoch(1, start=3)) == list(range(12, 24)), "the next epoch goes on"
    stream.close()


@pytest.mark.seed("S1-78")
def test_leaving_an_epoch_early_neither_hangs_nor_spoils_the_next() -> None:
    stream = stream_of(Slow(400), num_workers=2, prefetch_queue_size=8)
    for epoch in range(1, 4):
        iterator = stream.epoch(epoch)
        next(iterator)
        iterator.close()
    began = time.perf_counter()
    first = next(stream.epoch(9))
    assert numbers([first]) == [0, 1, 2, 3]
    assert time.perf_counter() - began < 0.3, "what nobody waits for is not made"
    stream.close()


@pytest.mark.seed("S1-23")
@pytest.mark.parametrize("workers", ["threads", "processes"])
@pytest.mark.parametrize("size", [3, 16])
def test_so_many_batches_are_held_ready(workers: str, size: int) -> None:
    plain = stream_of(Tiles(120))
    deep = stream_of(
        Tiles(120),
        num_workers=2,
        workers=workers,
        prefetch_queue_size=size,
        multiprocessing_context="fork",
    )
    seen = asked_for(deep)
    epoch = deep.epoch(1)
    got = [next(epoch)]
    assert len(seen) == 1 + size
    got.append(next(epoch))
    assert len(seen) == 2 + size
    assert numbers([*got, *epoch]) == numbers(plain.epoch(1))
    deep.close()


def asked_for(stream: LoaderStream) -> list[int]:
    """The batches that the stream has been asked to make, as they are asked for."""
    seen: list[int] = []
    plan = stream.plan

    class Watched:
        def requests(self, epoch: int, *, start: int = 0, skipped: int = 0):  # type: ignore[no-untyped-def]
            for request in plan.requests(epoch, start=start, skipped=skipped):
                seen.append(request.begin)
                yield request

    stream.plan = Watched()  # type: ignore[assignment]
    return seen


def test_the_first_batch_is_made_by_all() -> None:
    stream = LoaderStream(Parts(Slow(64)), options={"batch_size": 32, "num_workers": 4})
    next(stream.epoch(1))
    began = time.perf_counter()
    next(stream.epoch(2))
    assert time.perf_counter() - began < 0.75 * 32 * 0.01
    stream.close()


def test_a_stuck_thread_is_named_with_its_file() -> None:
    stream = stream_of(Tiles(at=6, does="sleep"), num_workers=2, stuck_after=0.5)
    epoch = stream.epoch(1)
    next(epoch)
    with pytest.raises(RunFailed) as told:
        next(epoch)
    assert str(told.value).startswith("tiles/6.png: data thread data-")
    assert "stuck" in str(told.value)
    assert "tiles/4.png, tiles/5.png, tiles/6.png, tiles/7.png" in str(told.value)


def test_a_wait_can_be_limited() -> None:
    stream = stream_of(Tiles(at=6, does="sleep"), num_workers=1, timeout=0.4)
    with pytest.raises(RunFailed, match=r"no batch for 0.4 s"):
        list(stream.epoch(1))


def test_the_crew_ends_with_its_stream() -> None:
    before = data_threads()
    stream = stream_of(Tiles(), num_workers=2)
    next(stream.epoch(1))
    assert data_threads() != before
    del stream
    gc.collect()
    assert data_threads() == before


class Counting(Tiles):
    """Computes with torch, and notes with how many numeric threads."""

    def __getitem__(self, index: int) -> dict[str, object]:
        sample = super().__getitem__(index)
        torch.ones(1 << 18).add_(1)
        self.threads.add(str(torch.get_num_threads()))
        return sample


def test_data_threads_compute_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        data = Counting()
        stream = stream_of(data, num_workers=2)
        list(stream.epoch(1))
        stream.close()
        assert {name for name in data.threads if name.isdigit()} == {"1"}
    finally:
        torch.set_num_threads(before)


def test_batches_take_up_memory_of_batches_that_are_gone() -> None:
    stream = stream_of(Tiles(400, side=120), num_workers=2, prefetch_queue_size=2)
    places = set()
    held = None
    for batch in stream.epoch(1):
        assert (batch["x"][:, 0, 0, 0] == batch["target"]["class_id"]).all()
        assert held is None or (held == held[:, :1, :1, :1]).all(), "what is held is left alone"
        held = batch["x"] if held is None else held
        places.add(batch["x"].data_ptr())
    assert len(places) < 12
    kept = list(stream.epoch(2))
    assert len({batch["x"].data_ptr() for batch in kept}) == 100
    stream.close()


def test_other_threads_keep_their_number_of_numeric_threads() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        stream = stream_of(Tiles(), num_workers=2)
        list(stream.epoch(1))
        assert torch.get_num_threads() == 3
        seen: list[int] = []
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert seen == [3]
        stream.close()
    finally:
        torch.set_num_threads(before)


def test_who_works_is_said_once_with_the_reason() -> None:
    said: list[str] = []
    options = {"batch_size": 4, "num_workers": 2}
    stream = LoaderStream(Parts(Tiles()), options=options, say=said.append)
    for epoch in (1, 2):
        list(stream.epoch(epoch))
    stream.close()
    unsafe = LoaderStream(Parts(Unsafe()), options=options, say=said.append)
    next(unsafe.epoch(1))
    unsafe.close()
    assert said[0] == "batches are made by 2 threads; every part may run in several threads"
    assert said[1].startswith("batches are made by 2 processes (")
    assert said[1].endswith("; Unsafe does not say it is thread-safe, so no threads")
    assert len(said) == 2


@pytest.mark.parametrize(
    ("dataset", "words", "mode"),
    [
        (Tiles(), {}, "serial"),
        (Tiles(), {"num_workers": 1}, "threads"),
        (Tiles(), {"num_workers": 1, "workers": "processes"}, "processes"),
        (Unsafe(), {"num_workers": 1}, "processes"),
        (Tiles(), {"num_workers": 1, "collate_fn": list}, "processes"),
    ],
)
def test_threads_are_taken_where_every_part_allows_it(dataset: Tiles, words, mode: str) -> None:  # type: ignore[no-untyped-def]
    assert stream_of(dataset, **words).mode == mode


def test_threads_are_refused_where_a_part_is_not_made_for_them() -> None:
    with pytest.raises(UserError, match="Unsafe does not say it is thread-safe"):
        stream_of(Unsafe(), num_workers=2, workers="threads")
    drawing = Tiles()
    drawing.draws_randomly = True
    with pytest.raises(UserError, match="Tiles may draw from the global generators"):
        stream_of(drawing, num_workers=2, workers="threads")
