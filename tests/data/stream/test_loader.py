"""Streams: the same batches however they are made, whoever makes them, wherever one starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cvtrainer.core.errors import RunFailed, UserError
from cvtrainer.data import DataAdapter, ImageFolder
from cvtrainer.data.pipeline import Parts
from cvtrainer.data.stream import ListStream, LoaderOptions, LoaderStream, rows_of
from cvtrainer.data.tensorizer import ImageTensorizer, IndexTensorizer, Tensorizer
from cvtrainer.data.transforms import Transforms

TENSORIZER = Tensorizer({"x": ImageTensorizer(), "class_id": IndexTensorizer()})
TRANSFORMS = Transforms(
    "Albumentations",
    [
        {"type": "RandomResizedCrop", "height": 8, "width": 8},
        "HorizontalFlip",
        {"type": "ColorJitter", "brightness": 0.5},
    ],
)


class Drawing(DataAdapter):
    """Draws from the global generators, and can fail."""

    def __init__(self, length: int = 13, *, fails_at: int = -1, error: Exception | None = None):
        self.length = length
        self.fails_at = fails_at
        self.error = error

    def __len__(self) -> int:
        return self.length

    def _load_sample(self, idx: int) -> dict[str, Any]:
        if idx == self.fails_at and self.error is not None:
            raise self.error
        picture = np.random.randint(0, 256, (9, 9, 3), dtype=np.uint8)
        return {
            "x": picture,
            "target": {"class_id": idx},
            "meta": {"index": idx, "path": f"file{idx}.png", "worker": os.getpid()},
        }


def parts(dataset: Any) -> Parts:
    """That data set with random transforms."""
    return Parts(dataset, transforms=TRANSFORMS, tensorizer=TENSORIZER)


def stream_of(dataset: Any, *, training: bool = True, **options: Any) -> LoaderStream:
    """A stream with random transforms and small batches."""
    words = {"batch_size": 4, "shuffle": True, **options}
    return LoaderStream(parts(dataset), seed=11, options=words, training=training)


def assert_same(one: list[Any], other: list[Any]) -> None:
    """The same samples in the same order with the same pixels, whatever the batches' borders."""
    assert [k for b in one for k in b["meta"]["index"]] == [
        k for b in other for k in b["meta"]["index"]
    ]
    assert torch.equal(torch.cat([b["x"] for b in one]), torch.cat([b["x"] for b in other]))


@pytest.mark.seed("S0-44")
def test_batches_have_the_size_asked_for(folder: Path) -> None:
    stream = stream_of(ImageFolder(folder))
    shapes = [tuple(batch["x"].shape) for batch in stream.epoch(1)]
    assert shapes == [(4, 3, 8, 8)] * 3 + [(1, 3, 8, 8)]
    assert (len(stream), stream.samples, stream.batch_size) == (4, 13, 4)
    many = LoaderStream(Parts(Drawing(64), tensorizer=TENSORIZER), options={"batch_size": 32})
    assert [b["x"].shape[0] for b in many.epoch(1)] == [32, 32]


@pytest.mark.seed("S0-45")
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_batches_are_the_same_for_any_number_of_workers(workers: int) -> None:
    plain = stream_of(Drawing(40))
    spread = stream_of(Drawing(40), num_workers=workers)
    pids: list[set[int]] = []
    for epoch in (1, 2):
        here, there = list(plain.epoch(epoch)), list(spread.epoch(epoch))
        assert_same(here, there)
        assert len(here) == len(there) == 10
        assert {pid for b in here for pid in b["meta"]["worker"]} == {os.getpid()}
        pids.append({pid for b in there for pid in b["meta"]["worker"]})
    assert min(2, workers) <= len(pids[0]) <= workers
    assert os.getpid() not in pids[0]
    assert len(pids[0] | pids[1]) <= workers, "workers live on from epoch to epoch"
    spread.close()


def test_workers_started_afresh_give_the_same_batches(folder: Path) -> None:
    expected = list(stream_of(ImageFolder(folder)).epoch(1))
    spawned = stream_of(ImageFolder(folder), num_workers=1, multiprocessing_context="spawn")
    assert_same(expected, list(spawned.epoch(1)))
    spawned.close()


@pytest.mark.seed("S0-46")
def test_the_order_changes_with_the_epoch_only_when_shuffled() -> None:
    def order(stream: LoaderStream, epoch: int) -> list[int]:
        return [k for batch in stream.epoch(epoch) for k in batch["meta"]["index"]]

    shuffled, fixed = stream_of(Drawing()), stream_of(Drawing(), shuffle=False)
    assert order(shuffled, 1) != order(shuffled, 2)
    assert sorted(order(shuffled, 1)) == list(range(13))
    assert order(shuffled, 1) == order(stream_of(Drawing()), 1)
    assert order(fixed, 1) == order(fixed, 2) == list(range(13))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_can_be_entered_at_any_batch(workers: int) -> None:
    stream = stream_of(Drawing(), num_workers=workers)
    whole = list(stream.epoch(3))
    for start in range(5):
        rest = list(stream.epoch(3, start=start))
        assert len(rest) == 4 - start
        for one, other in zip(whole[start:], rest, strict=True):
            assert_same([one], [other])
    stream.close()


def test_an_epoch_that_is_left_early_does_not_spoil_the_next() -> None:
    stream = stream_of(Drawing(40), num_workers=2)
    expected = list(stream_of(Drawing(40)).epoch(2))
    iterator = stream.epoch(1)
    next(iterator)
    assert_same(expected, list(stream.epoch(2)))
    stream.close()


@pytest.mark.parametrize("length", [13, 16, 17])
def test_two_ranks_together_see_what_one_process_sees(length: int) -> None:
    alone = LoaderStream(parts(Drawing(length)), seed=2, options={"batch_size": 8, "shuffle": True})
    options = {"batch_size": 4, "shuffle": True}
    ranks = [LoaderStream(parts(Drawing(length)), seed=2, options=options) for _ in range(2)]
    for rank, stream in enumerate(ranks):
        stream.shard(rank, 2)
    whole = list(alone.epoch(1))
    shares = [list(stream.epoch(1)) for stream in ranks]
    assert len(whole) == len(shares[0]) == len(shares[1]) == len(ranks[0])
    for step, batch in enumerate(whole):
        own = [part[step] for part in shares if part[step]["meta"].get("weight") != 0.0]
        assert_same([batch], own)
    fillers = [b for part in shares for b in part if b["meta"].get("weight") == 0.0]
    assert len(fillers) == (1 if length == 17 else 0)


def test_evaluation_gives_no_sample_twice() -> None:
    seen: list[int] = []
    for rank in range(3):
        stream = stream_of(Drawing(13), training=False, shuffle=False)
        stream.shard(rank, 3)
        batches = list(stream.epoch(1))
        assert len(batches) == len(stream)
        assert all("weight" not in batch["meta"] for batch in batches)
        seen += [k for batch in batches for k in batch["meta"]["index"]]
    assert sorted(seen) == list(range(13))


@pytest.mark.seed("S0-47")
def test_other_dataloader_words_take_effect() -> None:
    def only_indices(samples: Any) -> dict[str, Any]:
        return {"numbers": [sample["meta"]["index"] for sample in samples]}

    dropped = stream_of(Drawing(), drop_last=True, shuffle=False, collate_fn=only_indices)
    assert len(dropped) == 3
    assert dropped.samples == 12
    assert next(b["numbers"] for b in dropped.epoch(1)) == [0, 1, 2, 3]
    quick = stream_of(Drawing(), num_workers=1, prefetch_factor=3, pin_memory=True)
    assert_same(list(stream_of(Drawing()).epoch(1)), list(quick.epoch(1)))
    quick.close()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"batchsize": 3}, r"dataloader_args has no batchsize. Did you mean batch_size\?"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_workers": -1}, "num_workers is -1"),
        ({"prefetch_factor": 0}, "prefetch_factor is 0"),
        ({"collate_fn": "mine"}, "cannot be called"),
        ({"prefetch_queue_size": 0}, "prefetch_queue_size is 0"),
        ({"stuck_after": 0}, "stuck_after is 0"),
        ({"timeout": -1}, "timeout is -1"),
        ({"workers": "fibres"}, "Use auto, threads or processes"),
        ({"multiprocessing_context": "clone"}, "Use fork, forkserver or spawn"),
    ],
)
def test_wrong_words_are_named(words: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LoaderOptions.from_mapping(words)


def test_nothing_to_serve_is_an_error() -> None:
    with pytest.raises(UserError, match="Drawing: the data set holds no samples"):
        stream_of(Drawing(0))
    with pytest.raises(UserError, match="drop_last leaves nothing of 3 samples"):
        stream_of(Drawing(3), drop_last=True)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_failing_sample_is_named_wherever_it_is_made(workers: int) -> None:
    own = stream_of(Drawing(fails_at=2, error=KeyError("mine")), num_workers=workers)
    with pytest.raises(KeyError, match="mine") as error:
        list(own.epoch(1))
    notes = "\n".join(error.value.__notes__)
    assert "while making sample 2 (Drawing[2])" in notes
    assert workers == 0 or "_load_sample" in notes
    own.close()
    wrong = stream_of(
        Drawing(fails_at=2, error=UserError("odd", where="b.csv")), num_workers=workers
    )
    with pytest.raises(UserError, match=r"^b.csv: odd$"):
        list(wrong.epoch(1))
    wrong.close()


def test_what_ended_a_worker_ends_the_run_as_it_would_have_here() -> None:
    lost = RunFailed("no memory", where="b.csv", todo="Free some.")
    for workers in (0, 1):
        own = stream_of(Drawing(fails_at=2, error=lost), num_workers=workers)
        with pytest.raises(RunFailed, match=r"^b.csv: no memory. Free some.$") as error:
            list(own.epoch(1))
        assert error.value.exit_code == 1
        assert not hasattr(error.value, "__notes__")
        own.close()


class StuckError(Exception):
    """Cannot travel between processes."""

    def __init__(self) -> None:
        super().__init__("odd")
        self.lock = open(os.devnull)  # noqa: SIM115


def test_an_exception_that_cannot_travel_still_tells() -> None:
    stream = stream_of(Drawing(fails_at=2, error=StuckError()), num_workers=1)
    with pytest.raises(RuntimeError, match="StuckError: odd"):
        list(stream.epoch(1))
    stream.close()


def test_making_batches_leaves_the_global_generators_alone() -> None:
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    for workers in (0, 1):
        stream = stream_of(Drawing(), num_workers=workers)
        list(stream.epoch(1))
        stream.close()
    assert torch.equal(state, torch.random.get_rng_state())


def test_ready_batches_are_served_and_split() -> None:
    batches = [
        {
            "x": torch.arange(5) + 10 * k,
            "target": {"y": torch.arange(5)},
            "meta": {"path": ["p"] * 5},
        }
        for k in range(3)
    ]
    stream = ListStream(batches)
    assert (len(stream), stream.samples, stream.batch_size) == (3, 15, 5)
    assert next(iter(stream.epoch(1, start=2))) is batches[2]
    rows = []
    for rank in range(2):
        half = ListStream(batches)
        half.shard(rank, 2)
        rows.append(list(half.epoch(1)))
    assert [rows_of(p[0]) for p in rows] == [3, 2]
    assert torch.equal(torch.cat([p[1]["x"] for p in rows]), batches[1]["x"])
    assert rows[1][0]["target"]["y"].tolist() == [3, 4]
    assert len(rows[0][0]["meta"]["path"]) == 3
    with pytest.raises(UserError, match="a batch of 5 cannot be split over 6"):
        stream.shard(0, 6)
