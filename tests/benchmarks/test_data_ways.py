"""The benchmark of loading measures what it says, here on a few pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.data.__main__ import decoding_only, measure, scaled_difference
from benchmarks.data.pictures import picture_folder
from benchmarks.data.ways import Form, our_ways, ours, torchvision_pil


@pytest.mark.parametrize("form", ["train", "eval"])
def test_all_deliver_the_same_kind_of_batch(tmp_path: Path, form: Form) -> None:
    folder = picture_folder(tmp_path / "files", 6)
    mine = next(iter(ours(folder, form).epoch(1)))
    theirs = next(torchvision_pil(folder, form, 0)(1))
    assert mine["x"].shape == theirs[0].shape == (6, 3, 224, 224)
    assert mine["x"].dtype == theirs[0].dtype == torch.float32
    if form == "eval":
        assert mine["target"]["class_id"].tolist() == theirs[1].tolist()
        assert float((mine["x"] - theirs[0]).abs().mean()) < 0.2


def test_rates_are_of_images(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "files", 6)
    datas = [path.read_bytes() for path in folder.glob("*/*.jpg")]
    streams = our_ways(folder, tmp_path, "eval", 1)
    chosen = {name: streams[name].epoch for name in ("plain folder", "cache: packed")}
    found = measure({**chosen, "decoding": decoding_only(datas, 1)}, rounds=2)
    assert all(len(times.rates) == 2 for times in found.values())
    assert all(times.rate > 0 for times in found.values())
    assert found["plain folder"].first > 0
    for stream in streams.values():
        stream.close()


def test_the_difference_of_scaled_decoding(tmp_path: Path) -> None:
    large = picture_folder(tmp_path / "large", 2, width=1200, height=900)
    small = picture_folder(tmp_path / "small", 2)
    difference, smaller = scaled_difference(large, "eval")
    assert smaller == 2
    assert 0 < difference < 10
    assert scaled_difference(small, "eval") == (0.0, 0)
