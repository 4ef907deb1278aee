"""`cvtrainer data pack`: everything is there afterwards, and a check says what is not."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cvtrainer.cli.program import main
from cvtrainer.data.cache import PackedCache, packed
from cvtrainer.data.cache.shards import PIXELS
from cvtrainer.data.decode import Decoding
from cvtrainer.data.encoded import Encoded
from tests.data.cache.pictures import save_jpeg, settle

CONFIG = """
stages:
- name: train
  epochs: 1
  dataloader:
    train:
      dataset: {{data_path: {folder}}}
      cache: {{type: packed, dir: {cache}, shorter: 20}}
    val:
      dataset: {{data_path: {folder}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(6):
        save_jpeg(tmp_path / "files" / "ab"[number % 2] / f"{number}.jpg", number)
    for name in "ab":
        settle(tmp_path / "files" / name)
    return tmp_path / "files"


def said(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> dict[str, Any]:
    """The only split's outcome."""
    assert main(["data", "pack", *map(str, words), "--json"]) == code
    (found,) = json.loads(capsys.readouterr().out)
    return dict(found)


def test_a_path_is_packed_once(
    tmp_path: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = tmp_path / "cache"
    first = said(capsys, folder, "--dir", cache)
    assert (first["samples"], first["values"], first["failed"]) == (6, 6, {})
    assert first["bytes_after"] >= 6 * 40 * 56 * 3
    monkeypatch.setattr(packed, "decode_image", None)
    assert said(capsys, folder, "--dir", cache)["bytes_after"] == first["bytes_after"]
    source = PackedCache(Decoding(), cache)
    for path in folder.glob("*/*.jpg"):
        assert source.picture(Encoded(str(path))).pixels.shape == (40, 56, 3)


def test_a_half_packed_set_is_finished(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = PackedCache(Decoding(), tmp_path / "cache")
    for path in sorted(folder.glob("*/*.jpg"))[:4]:
        source.picture(Encoded(str(path)))
    source.flush()
    found = said(capsys, folder, "--dir", tmp_path / "cache")
    assert found["bytes_before"] > 0
    assert found["bytes_after"] == pytest.approx(found["bytes_before"] * 6 / 4, rel=0.01)


def test_a_config_says_where_and_how(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(CONFIG.format(folder=folder, cache=tmp_path / "cache"))
    found = said(capsys, "--config", config)
    assert found["split"] == "train"
    assert Path(found["folder"]) == PackedCache(None, tmp_path / "cache", shorter=20).folder
    assert said(capsys, "--config", config, "--check")["present"] == 6
    assert main(["data", "pack", "--config", str(config), "--shorter", "9"]) == 2
    assert main(["data", "pack", "--config", str(config), "--phase", "val"]) == 2
    assert "cache: packed" in capsys.readouterr().err


def test_the_check_names_what_is_missing_changed_and_damaged(
    tmp_path: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = tmp_path / "cache"
    later = time.time_ns() + 10**10
    monkeypatch.setattr("cvtrainer.data.cache.identity.time.time_ns", lambda: later)
    said(capsys, folder, "--dir", cache)
    complete = said(capsys, folder, "--dir", cache, "--check")
    assert (complete["present"], complete["complete"], complete["unused"]) == (6, True, 0)
    save_jpeg(folder / "a" / "0.jpg", 50)
    save_jpeg(folder / "b" / "9.jpg", 51)
    (folder / "a" / "2.jpg").rename(folder / "a" / "8.jpg")
    shard = next(cache.glob(f"*/*{PIXELS}"))
    data = bytearray(shard.read_bytes())
    data[-100] ^= 1
    shard.write_bytes(data)
    found = said(capsys, folder, "--dir", cache, "--check", code=1)
    assert (found["damaged"], found["unused"]) == (1, 1)
    assert [Path(name).name for name in found["stale"]] == ["0.jpg"]
    missing = {Path(name).name for name in found["missing"]}
    assert "9.jpg" in missing
    assert len(missing) == 2
    assert found["present"] == 4
    said(capsys, folder, "--dir", cache)
    again = said(capsys, folder, "--dir", cache, "--check")
    assert (again["damaged"], again["present"], again["complete"]) == (1, 7, True)


def test_what_cannot_be_decoded_is_listed(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a" / "2.jpg").write_bytes(b"no picture")
    assert main(["data", "pack", str(folder), "--dir", str(tmp_path / "cache")]) == 0
    out = capsys.readouterr().out
    assert "5 pictures of 6 samples" in out
    assert "2.jpg" in out
