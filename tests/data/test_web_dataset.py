"""Tar archives read at any place: fields, patterns, labels, cut archives."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.tar_members import expand
from cvtrainer.data.datasets.web_dataset import WebDataset
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.sample import BadSample


def picture(value: int, size: tuple[int, int] = (12, 16)) -> bytes:
    """A PNG of one grey."""
    data = io.BytesIO()
    Image.fromarray(np.full((*size, 3), value, dtype=np.uint8)).save(data, "PNG")
    return data.getvalue()


def mask() -> bytes:
    """A PNG of zeros and ones."""
    data = io.BytesIO()
    Image.fromarray(np.resize(np.array([0, 1], dtype=np.uint8), (12, 16))).save(data, "PNG")
    return data.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes | str], mode: Any = "w") -> Path:
    """An archive of those members, in that order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def labelled(first: int, count: int) -> dict[str, bytes | str]:
    """Samples with a picture of their number's grey and the class number modulo 3."""
    members: dict[str, bytes | str] = {}
    for number in range(first, first + count):
        members[f"{number:04d}.png"] = picture(number)
        members[f"{number:04d}.cls"] = str(number % 3)
    return members


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Three archives with 4, 2 and 5 samples."""
    first = 0
    for number, count in enumerate((4, 2, 5)):
        write_tar(tmp_path / "shards" / f"train-{number:03d}.tar", labelled(first, count))
        first += count
    return tmp_path / "shards"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
        ("{a,b}-{0..1}", ["a-0", "a-1", "b-0", "b-1"]),
        ("plain.tar", ["plain.tar"]),
    ],
)
def test_patterns(pattern: str, names: list[str]) -> None:
    assert expand(pattern) == names


@pytest.mark.seed("S3-82")
def test_samples_of_all_archives_in_order(shards: Path) -> None:
    for path in (shards, shards / "train-{000..002}.tar", f"{shards}/train-00{{0,1,2}}.tar"):
        data = WebDataset(path)
        assert len(data) == 11
        assert data.classes == {"0": 0, "1": 1, "2": 2}
        assert data.labels is not None
        assert data.labels.tolist() == [number % 3 for number in range(11)]
    record = data.record(9)
    assert isinstance(record["x"], Encoded)
    assert record["meta"]["path"] == f"{shards / 'train-002.tar'}!0009.png"
    for row in (9, 0, 5):
        sample = data[row]
        assert (sample["x"] == row).all()
        assert sample["target"] == {"class_id": row % 3}
    assert len(WebDataset(shards / "train-001.tar")) == 2


def test_splits(shards: Path) -> None:
    write_tar(shards / "val-000.tar", labelled(0, 1))
    write_tar(shards / "test" / "a.tar", labelled(0, 3))
    assert [len(WebDataset(shards, split=s)) for s in ("train", "val", "test")] == [11, 1, 3]
    with pytest.raises(UserError, match="no tar archive for split 'dev'"):
        WebDataset(shards, split="dev")


def test_names_as_labels(tmp_path: Path) -> None:
    members: dict[str, bytes | str] = {}
    for number, name in enumerate(("dog", "cat", "dog")):
        members[f"{number}.png"] = picture(number)
        members[f"{number}.json"] = json.dumps({"label": name, "more": {"size": number / 2}})
    path = write_tar(tmp_path / "a.tar", members)
    data = WebDataset(path)
    assert data.classes == {"cat": 0, "dog": 1}
    assert [data[row]["target"]["class_id"] for row in range(3)] == [1, 0, 1]
    bound = WebDataset(path, classes=["dog", "eel"])
    assert bound[0]["target"]["class_id"] == 0
    with pytest.raises(BadSample, match="the sample has no class_id that can be used") as error:
        bound[1]
    assert error.value.kind == "label"
    value = WebDataset(path, task="regression", fields={"value": "json:more.size"})
    assert [value[row]["target"]["value"] for row in range(3)] == [0.0, 0.5, 1.0]


@pytest.mark.seed("S3-83")
def test_other_tasks(tmp_path: Path) -> None:
    objects = {"boxes": [[1, 2, 5, 6], [3, 3, 3, 9]], "labels": ["cat", "dog"]}
    members: dict[str, bytes | str] = {
        "a.png": picture(1),
        "a.json": json.dumps({**objects, "keypoints": [[1, 2, 2], [3, 4, 0]], "value": [1, 2]}),
        "a.mask.png": mask(),
        "b.png": picture(2),
        "b.json": json.dumps({"boxes": [], "labels": [], "keypoints": [], "value": [3, 4]}),
        "b.mask.png": mask(),
    }
    path = write_tar(tmp_path / "a.tar", members)
    found = WebDataset(path, task="detection")
    assert found.classes == {"cat": 0, "dog": 1}
    assert found[0]["target"]["boxes"].tolist() == [[1, 2, 5, 6]]
    assert found[0]["target"]["box_labels"].tolist() == [0]
    assert found[1]["target"]["boxes"].shape == (0, 4)
    assert WebDataset(path, task="multilabel")[0]["target"]["class_ids"].tolist() == [0, 1]
    points = WebDataset(path, task="keypoints")[0]["target"]["keypoints"]
    assert points.tolist() == [[1, 2, 2], [3, 4, 0]]
    assert WebDataset(path, task="regression")[1]["target"]["value"].tolist() == [3, 4]
    segmentation = WebDataset(path, task="segmentation", classes=["ground", "thing"])
    assert segmentation[0]["target"]["mask"][0, :2].tolist() == [0, 1]
    assert WebDataset(path, task="generation")[1]["target"] == {}
    with pytest.raises(UserError, match="cannot serve task instances"):
        WebDataset(path, task="instances")
    with pytest.raises(UserError, match="`fields` has boxes, which task generation does not use"):
        WebDataset(path, task="generation", fields={"boxes": "json:boxes"})


def test_texts(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "a.tar", {"a.txt": "größer", "a.cls": "0", "b.txt": b"\xff", "b.cls": "1"}
    )
    data = WebDataset(path)
    assert data[0]["x"] == "größer"
    with pytest.raises(BadSample, match="not UTF-8"):
        data[1]


def test_a_spoiled_annotation_spoils_its_sample_only(tmp_path: Path) -> None:
    path = write_tar(
        tmp_path / "a.tar",
        {
            "a.png": picture(1),
            "a.json": "{",
            "b.png": picture(2),
            "b.json": json.dumps({"boxes": [[1, 2, 3]], "labels": [0]}),
            "c.png": picture(3),
            "c.json": json.dumps({"boxes": [[1, 2, 3, 4]], "labels": [0]}),
            "d.png": b"nothing",
            "d.json": json.dumps({"boxes": [[1, 2, "x", 4]], "labels": [0]}),
        },
    )
    data = WebDataset(path, task="detection")
    for row in (0, 1, 3):
        with pytest.raises(BadSample, match=r"a\.tar!"):
            data[row]
    assert data[2]["target"]["boxes"].tolist() == [[1, 2, 3, 4]]


def test_samples_without_an_input_are_counted(tmp_path: Path) -> None:
    members = {**labelled(0, 2), "x.cls": "1", ".hidden": "no"}
    data = WebDataset(write_tar(tmp_path / "a.tar", members))
    assert len(data) == 2
    assert data.notes == ("1 samples without an input are left out",)


def test_a_cut_archive_gives_what_is_before_the_cut(shards: Path) -> None:
    path = shards / "train-002.tar"
    offset = WebDataset(shards).record(9)["x"].offset
    path.write_bytes(path.read_bytes()[: offset + 10])
    data = WebDataset(shards)
    assert len(data) == 9
    assert "train-002.tar is cut off" in data.notes
    assert (data[8]["x"] == 8).all()


def test_long_names_and_folders(tmp_path: Path) -> None:
    name = "folder.with.dots/" + "n" * 150
    path = write_tar(tmp_path / "a.tar", {f"{name}.png": picture(7), f"{name}.cls": "0"})
    sample = WebDataset(path)[0]
    assert (sample["x"] == 7).all()
    assert sample["meta"]["path"].endswith(f"!{name}.png")


def test_what_is_wrong_is_said(tmp_path: Path, shards: Path) -> None:
    with pytest.raises(UserError, match="no such tar archive"):
        WebDataset(shards / "train-{000..007}.tar")
    packed = write_tar(tmp_path / "a.tar.gz", labelled(0, 1), "w:gz")
    with pytest.raises(UserError, match="not a tar archive that can be read at any place"):
        WebDataset(packed)
    with pytest.raises(UserError, match="no sample has a value"):
        WebDataset(write_tar(tmp_path / "b.tar", {"a.png": picture(1)}), task="regression")
    with pytest.raises(UserError, match="no sample has an input"):
        WebDataset(shards, fields={"x": "jpg"})


def test_a_kept_index_is_used_until_an_archive_changes(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvtrainer.data.datasets.reading.kept_index.KEEP_FROM", 1)
    monkeypatch.setattr("cvtrainer.data.datasets.reading.kept_index._YOUNG_NS", -(10**18))
    first = WebDataset(shards, index_dir=tmp_path / "kept")
    kept = WebDataset(shards, index_dir=tmp_path / "kept")
    assert kept.index.path == first.index.path is not None
    assert (kept[10]["x"] == 10).all()
    write_tar(shards / "train-001.tar", {"a.png": picture(99), "a.cls": "2"})
    changed = WebDataset(shards, index_dir=tmp_path / "kept")
    assert len(changed) == 10
    assert (changed[4]["x"] == 99).all()
    assert len(WebDataset(shards, index_dir=tmp_path / "kept", classes=["a", "b", "c"])) == 10
