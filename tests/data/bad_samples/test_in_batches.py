"""Broken files on the way to batches: replaced the same way by everyone, and with an end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cvtrainer.core.errors import RunFailed
from cvtrainer.data import ImageFolder
from cvtrainer.data.bad_samples import BadRecord, Ledger, Quarantine, TooManyBad
from cvtrainer.data.collate import collate
from cvtrainer.data.pipeline import BatchMaker, Parts
from cvtrainer.data.sampling.plan import BatchRequest
from cvtrainer.data.stream import LoaderStream
from cvtrainer.data.tensorizer import ImageTensorizer, IndexTensorizer, Tensorizer

TENSORIZER = Tensorizer({"x": ImageTensorizer(), "class_id": IndexTensorizer()})


@pytest.fixture
def five(tmp_path: Path) -> Path:
    """Three pictures and two broken files, in two classes."""
    for k in range(5):
        file = tmp_path / "set" / ("cat" if k < 3 else "dog") / f"{k}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 40 * k, dtype=np.uint8)).save(file)
    cut = tmp_path / "set" / "cat" / "1.jpg"
    cut.write_bytes(cut.read_bytes()[:-30])
    (tmp_path / "set" / "dog" / "4.jpg").write_bytes(b"no picture")
    return tmp_path / "set"


def maker(folder: Path, known: Quarantine | None = None) -> BatchMaker:
    """Makes batches of that folder."""
    parts = Parts(ImageFolder(folder), tensorizer=TENSORIZER, collate=collate)
    return BatchMaker(parts, seed=3, known_bad=known)


def epoch(of: BatchMaker, number: int = 1) -> tuple[torch.Tensor, list[BadRecord]]:
    """The pixels of all five, and what was bad."""
    batches, bad = [], list[BadRecord]()
    for place in range(5):
        made = of.make(BatchRequest(number, (place,), (place,)))
        batches.append(made.batch["x"])
        bad += made.bad
    return torch.cat(batches), bad


@pytest.mark.seed("S3-84")
def test_two_broken_of_five(five: Path, tmp_path: Path) -> None:
    said: list[str] = []
    book = Ledger(
        tmp_path / "bad_samples.jsonl", split="train", length=5, max_bad=0.4, say=said.append
    )
    for number in (1, 2, 3):
        pixels, bad = epoch(maker(five), number)
        assert pixels.shape[0] == 5
        book.add(bad)
    found = {Path(record.file).name: record.kind for record in book.records}
    assert found == {"1.jpg": "truncated", "4.jpg": "unreadable"}
    assert len(said) == 2
    strict = Ledger(None, split="train", length=5, max_bad=0.2, say=said.append)
    with pytest.raises(TooManyBad, match=r"2 of 5 samples \(40.0%\)"):
        strict.add(bad)


@pytest.mark.seed("S3-84")
@pytest.mark.timeout(60)
def test_all_bad_is_an_error_and_not_a_loop(five: Path) -> None:
    for file in five.glob("*/*.jpg"):
        file.write_bytes(b"no picture")
    with pytest.raises(RunFailed, match="no usable sample found in 100 tries"):
        epoch(maker(five))


@pytest.mark.seed("S3-84")
def test_batches_do_not_depend_on_what_is_known(five: Path, tmp_path: Path) -> None:
    fresh, bad = epoch(maker(five))
    keep = tmp_path / "quarantine.jsonl"
    Ledger(None, split="train", length=5, max_bad=1, quarantine=keep, say=lambda _: None).add(bad)
    later, known = epoch(maker(five, Quarantine(keep)))
    assert torch.equal(fresh, later)
    assert {record.kind for record in known} == {"known"}
    Image.fromarray(np.full((8, 8, 3), 9, dtype=np.uint8)).save(five / "dog" / "4.jpg")
    repaired, still = epoch(maker(five, Quarantine(keep)))
    assert {Path(record.file).name for record in still} == {"1.jpg"}
    assert torch.equal(repaired[:4], fresh[:4])
    assert not torch.equal(repaired[4], fresh[4])


@pytest.mark.seed("S3-86")
@pytest.mark.timeout(90)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_file_stops_no_loader(five: Path, workers: int) -> None:
    options: dict[str, Any] = {"batch_size": 2, "num_workers": workers, "shuffle": True}
    stream = LoaderStream(Parts(ImageFolder(five), tensorizer=TENSORIZER), seed=3, options=options)
    for number in (1, 2):
        batches = [batch["x"] for batch in stream.epoch(number)]
        assert sum(len(batch) for batch in batches) == 5
