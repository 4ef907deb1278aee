"""Tar archives read in order: packed, piped, shuffled, over ranks, from the middle."""

from __future__ import annotations

import gzip
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.bad_samples import BadRecord
from cvtrainer.data.datasets.tar_source import TarSource
from cvtrainer.data.randomness import DrawKey, generator
from cvtrainer.data.sample import BadSample, Sample
from cvtrainer.data.tar_stream import TarStream
from tests.data.test_web_dataset import labelled, mask, picture, write_tar

COUNTS = (4, 2, 5, 3)


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Four packed archives; the pictures' greys are the samples' numbers."""
    first = 0
    for number, count in enumerate(COUNTS):
        write_tar(tmp_path / "shards" / f"{number}.tar.gz", labelled(first, count), "w:gz")
        first += count
    return tmp_path / "shards"


def _numbers(sample: Sample) -> Sample:
    """In place of pixels, the grey."""
    return {
        "x": np.array([float(np.asarray(sample["x"]).flat[0])], dtype=np.float32),
        "target": {"class_id": np.array(sample["target"]["class_id"])},
        "meta": sample["meta"],
    }


def _stream(shards: Path, **words: Any) -> TarStream:
    words = {"batch_size": 3, "tensorizer": _numbers, **words}
    return TarStream(TarSource(shards), **words)


def _greys(batches: Any) -> list[list[int]]:
    return [[int(value) for value in np.asarray(batch["x"]).ravel()] for batch in batches]


def _flat(batches: list[list[int]]) -> list[int]:
    return [grey for batch in batches for grey in batch]


@pytest.mark.seed("S3-82")
def test_in_order(shards: Path) -> None:
    stream = _stream(shards)
    assert stream.source.counts == COUNTS
    assert stream.samples == 14
    assert len(stream) == 5
    batches = list(stream.epoch(1))
    assert _flat(_greys(batches)) == list(range(14))
    assert np.asarray(batches[0]["target"]["class_id"]).tolist() == [0, 1, 2]
    assert batches[4]["meta"]["index"] == [12, 13]
    assert batches[0]["meta"]["path"][0].endswith("0.tar.gz!0000.png")


@pytest.mark.parametrize("buffer", [0, 1, 4, 100])
def test_every_sample_once_and_the_same_from_any_batch_on(shards: Path, buffer: int) -> None:
    whole = _greys(_stream(shards, shuffle_buffer=buffer, seed=5).epoch(2))
    assert sorted(_flat(whole)) == list(range(14))
    for start in range(6):
        stream = _stream(shards, shuffle_buffer=buffer, seed=5)
        assert _greys(stream.epoch(2, start=start)) == whole[start:]
    if buffer:
        assert whole != _greys(_stream(shards, shuffle_buffer=buffer, seed=5).epoch(3))
        assert whole != _greys(_stream(shards, shuffle_buffer=buffer, seed=6).epoch(2))
    if buffer > 1:
        assert _flat(whole) != list(range(14))


@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_ranks_share_the_archives(shards: Path, world_size: int) -> None:
    seen: list[int] = []
    steps = []
    weights = []
    for rank in range(world_size):
        stream = _stream(shards, shuffle_buffer=3)
        stream.shard(rank, world_size)
        batches = list(stream.epoch(1))
        steps.append(len(batches))
        assert len(batches) == len(stream)
        weights.append([batch["meta"]["weight"] for batch in batches])
        for batch, greys in zip(batches, _greys(batches), strict=True):
            if batch["meta"]["weight"]:
                seen += greys
        again = _stream(shards, shuffle_buffer=3)
        again.shard(rank, world_size)
        for start in range(len(batches)):
            assert _greys(again.epoch(1, start=start))[0:1] == _greys(batches[start : start + 1])
    assert len(set(steps)) == 1
    assert sorted(seen) == list(range(14))
    np.testing.assert_allclose(np.sum(weights, axis=0), world_size)


def test_evaluation_has_no_fillers(shards: Path) -> None:
    lengths = []
    for rank in range(3):
        stream = _stream(shards, training=False)
        stream.shard(rank, 3)
        batches = list(stream.epoch(1))
        assert all("weight" not in batch["meta"] for batch in batches)
        lengths.append(sum(len(greys) for greys in _greys(batches)))
    assert sum(lengths) == 14
    with pytest.raises(UserError, match="4 archives cannot be split over 5 processes"):
        _stream(shards).shard(0, 5)


def test_draws_belong_to_the_sample(shards: Path) -> None:
    def noise(sample: Sample, key: DrawKey) -> Sample:
        drawn = generator(key.at(1)).integers(0, 1 << 30)
        return {**sample, "x": np.array([drawn, np.asarray(sample["x"]).flat[0]], dtype=np.int64)}

    def pairs(stream: TarStream, epoch: int) -> dict[int, int]:
        rows = [row for batch in stream.epoch(epoch) for row in np.asarray(batch["x"]).tolist()]
        return {grey: drawn for drawn, grey in rows}

    words: dict[str, Any] = {"transforms": noise, "tensorizer": None}
    alone = pairs(_stream(shards, **words), 1)
    both: dict[int, int] = {}
    for rank in range(2):
        stream = _stream(shards, shuffle_buffer=4, training=False, **words)
        stream.shard(rank, 2)
        both |= pairs(stream, 1)
    assert alone == both
    assert alone != pairs(_stream(shards, **words), 2)


class _Ledger:
    def __init__(self) -> None:
        self.records: list[BadRecord] = []

    def add(self, records: tuple[BadRecord, ...], /) -> None:
        self.records += records


def test_a_bad_sample_is_replaced_by_the_next_good_one(tmp_path: Path) -> None:
    members = labelled(0, 9)
    members["0001.png"] = b"nothing"
    members["0002.cls"] = "word"
    members["0008.png"] = picture(8)[:30]
    write_tar(tmp_path / "a.tar.gz", members, "w:gz")
    source = TarSource(tmp_path / "a.tar.gz", classes=["0", "1", "2"])
    ledger = _Ledger()
    stream = TarStream(source, batch_size=3, tensorizer=_numbers, ledger=ledger)
    whole = _greys(stream.epoch(1))
    assert whole == [[0, 3, 3], [3, 4, 5], [6, 7, 7]]
    names = [record.file.rpartition("!")[2] for record in ledger.records]
    assert names == ["0001.png", "0002.png", "0008.png"]
    assert [record.kind for record in ledger.records][1] == "label"
    for start in range(3):
        assert _greys(stream.epoch(1, start=start)) == whole[start:]


def test_pipes(shards: Path) -> None:
    command = f"pipe:gunzip -c {shlex.quote(str(shards))}/{{0,1,2,3}}.tar.gz"
    stream = TarStream(TarSource(command), batch_size=4, tensorizer=_numbers)
    assert len(stream.source.shards) == 4
    assert _flat(_greys(stream.epoch(1))) == list(range(14))
    next(iter(stream.epoch(1)))
    with pytest.raises(UserError, match=r"not a tar archive|ended with"):
        list(TarStream(TarSource("pipe:exit 3", counts=[1]), batch_size=1).epoch(1))


def test_counts_are_checked(shards: Path) -> None:
    for counts, what in (([4, 2, 5, 4], "but the archive has 3"), ([4, 1, 5, 3], "has more")):
        stream = TarStream(TarSource(shards, counts=counts), batch_size=2)
        with pytest.raises(UserError, match=what):
            list(stream.epoch(1))
    with pytest.raises(UserError, match="2 counts for 4 archives"):
        TarSource(shards, counts=[1, 2])


def test_a_cut_archive_gives_what_is_before_the_cut(shards: Path) -> None:
    path = shards / "2.tar.gz"
    plain = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(plain[: 512 * 4 * 3 + 600]))
    stream = _stream(shards)
    assert stream.source.counts == (4, 2, 3, 3)
    assert _flat(_greys(stream.epoch(1))) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13]


def test_other_tasks(tmp_path: Path) -> None:
    members: dict[str, bytes | str] = {
        "a.png": picture(1),
        "a.json": '{"boxes": [[1, 2, 5, 6], [3, 3, 3, 9]], "labels": ["cat", "dog"], "value": 2}',
        "a.mask.png": mask(),
        "b.png": picture(2),
        "b.json": '{"boxes": [[1, 2, 5]], "labels": ["eel"]}',
    }
    path = write_tar(tmp_path / "a.tar", members)
    good, bad = TarSource(path, task="detection", classes=["cat", "dog"]).read(0)
    assert isinstance(good, dict)
    assert good["target"]["boxes"].tolist() == [[1, 2, 5, 6]]
    assert good["target"]["box_labels"].tolist() == [0]
    assert isinstance(bad, BadSample)
    segmentation = list(TarSource(path, task="segmentation").read(0))
    assert segmentation[0]["target"]["mask"].kind == "mask"  # type: ignore[index]
    assert isinstance(segmentation[1], BadSample)
    values = list(TarSource(path, task="regression").read(0))
    assert values[0]["target"] == {"value": 2.0}  # type: ignore[index]
    with pytest.raises(UserError, match=r"the label cat is a name.*Give `classes`"):
        list(TarSource(path, task="detection").read(0))
