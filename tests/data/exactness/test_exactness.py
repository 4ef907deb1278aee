"""Batches are the same bit for bit, whoever makes them, wherever one starts, on however many ranks.

`make test` runs a pairwise choice, `make soak` the full cross of CONTENTS with everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cvtrainer.data.stream import LoaderStream
from tests.data.exactness.choices import Way, every_way, pairwise
from tests.data.exactness.contents import CONTENTS, LENGTH

EPOCH = 3
GLOBAL_BATCH = 4
QUICK = pairwise()


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the contents that need files."""
    return tmp_path_factory.mktemp("exactness")


def stream_of(content: str, room: Path, **options: Any) -> LoaderStream:
    """Shuffled batches of that content."""
    words = {"batch_size": GLOBAL_BATCH, "shuffle": True, **options}
    return LoaderStream(CONTENTS[content](room), seed=7, options=words)


def rows_of(batch: Any) -> list[dict[str, Any]]:
    """The samples of a batch without the padding that their company brought."""
    count = len(batch["meta"]["index"])
    return [dict(_row(batch, number, "")) for number in range(count)]


def _row(fields: Mapping[str, Any], number: int, above: str) -> Any:
    for name, value in fields.items():
        if name.endswith("_padding") or name in ("weight", "of"):
            continue
        if isinstance(value, Mapping):
            yield from _row(value, number, f"{above}{name}.")
            continue
        own = value[number]
        padding = fields.get(f"{name}_padding")
        if padding is not None:
            own = own[~padding[number]]
        yield f"{above}{name}", own


@cache
def expected(content: str, room: Path) -> list[list[dict[str, Any]]]:
    """The batches of one process that makes them itself, from the beginning."""
    return [rows_of(batch) for batch in stream_of(content, room).epoch(EPOCH)]


def assert_same(one: Mapping[str, Any], other: Mapping[str, Any], where: str) -> None:
    """Every value of both, bit for bit."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, Tensor):
            assert value.dtype == other[name].dtype, f"{where}: {name}"
            assert torch.equal(value, other[name]), f"{where}: {name}"
        else:
            assert value == other[name], f"{where}: {name}"


def check(way: Way, room: Path) -> None:
    """The batches of that way against the expected ones, sample by sample."""
    whole = expected(way.content, room)
    assert sum(map(len, whole)) == LENGTH
    options: dict[str, Any] = {
        "batch_size": GLOBAL_BATCH // way.ranks,
        "num_workers": way.workers,
        "workers": "threads" if way.who == "threads" else "processes",
    }
    if way.who != "threads":
        options["multiprocessing_context"] = way.who
    if not way.workers:
        options.pop("workers")
    streams = [stream_of(way.content, room, **options) for _ in range(way.ranks)]
    try:
        for rank, stream in enumerate(streams):
            stream.shard(rank, way.ranks)
        parts = [list(stream.epoch(EPOCH, start=way.start)) for stream in streams]
    finally:
        for stream in streams:
            stream.close()
    assert {len(part) for part in parts} == {len(whole) - way.start}
    for step, rows in enumerate(whole[way.start :]):
        own = [part[step] for part in parts if part[step]["meta"].get("weight") != 0.0]
        made = [row for batch in own for row in rows_of(batch)]
        assert len(made) == len(rows)
        for one, other in zip(rows, made, strict=True):
            assert_same(one, other, f"{way}, batch {step + way.start}")


@pytest.mark.parametrize("way", [pytest.param(way, id=str(way)) for way in QUICK])
def test_chosen_ways_give_the_same_batches(way: Way, room: Path) -> None:
    check(way, room)


@pytest.mark.soak
@pytest.mark.long
@pytest.mark.parametrize("way", [pytest.param(w, id=str(w)) for w in every_way()])
def test_every_way_gives_the_same_batches(way: Way, room: Path) -> None:
    check(way, room)


def test_the_choice_is_small_and_whole() -> None:
    assert len(QUICK) <= 40
    ways = list(every_way())
    assert {way.content for way in QUICK} == set(CONTENTS)
    assert {way.who for way in QUICK} == {way.who for way in ways}
    assert {way.workers for way in QUICK} == {0, 1, 2, 4}


def test_epochs_and_seeds_do_differ(room: Path) -> None:
    for content in CONTENTS:
        first, second = (
            [row for batch in stream_of(content, room).epoch(epoch) for row in rows_of(batch)]
            for epoch in (1, 2)
        )
        same = {row["meta.index"]: row["x"] for row in first}
        assert [row["meta.index"] for row in first] != [row["meta.index"] for row in second]
        if content != "curves":
            assert any(
                same[row["meta.index"]].shape != row["x"].shape
                or not torch.equal(same[row["meta.index"]], row["x"])
                for row in second
                if row["meta.index"] in same
            )
