"""File lists: separators, quotes, labels as names or numbers, and what makes a list unusable."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.file_list import FileList
from cvtrainer.data.datasets.reading import kept_index
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.sample import BadSample
from tests.data.conftest import save_picture


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a.png, `my cat.png` and in/b.png."""
    for k, name in enumerate(["a.png", "my cat.png", "in/b.png"]):
        save_picture(tmp_path / name, k)
    return tmp_path


def _write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.seed("S3-82")
@pytest.mark.parametrize(
    "text",
    [
        "a.png dog\nin/b.png cat\nmy cat.png dog\n",
        "a.png dog\r\nin\\b.png cat\r\n\r\n# a remark\r\nmy cat.png dog",
        "\ufeffa.png\tdog\nin/b.png\tcat\nmy cat.png\tdog\n",
        "a.png,dog\nin/b.png, cat\nmy cat.png,dog\n",
        'a.png,"dog"\n"in/b.png",cat\n"my cat.png",dog\n',
        'a.png   dog\nin/b.png cat\n"my cat.png" dog\n',
    ],
)
def test_one_label_a_line(place: Path, text: str) -> None:
    data = FileList(_write(place / "list.txt", text))
    assert data.task == "classification"
    assert data.classes == {"cat": 0, "dog": 1}
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0, 1]
    assert data.record(1)["x"] == Encoded(str(place / "in" / "b.png"))
    assert data[2]["x"].shape == (12, 16, 3)
    assert data[2]["target"] == {"class_id": 1}
    assert pickle.loads(pickle.dumps(data)).record(2) == data.record(2)


def test_numbers_are_classes_or_values(place: Path) -> None:
    file = _write(place / "list.txt", "a.png 10\nin/b.png 2\n")
    assert FileList(file).class_names == ("2", "10")
    names = [f"class {k}" for k in range(11)]
    assert FileList(file, classes=names).record(0)["target"] == {"class_id": 10}
    data = FileList(file, task="regression")
    assert data.record(0)["target"] == {"value": 10.0}
    file = _write(place / "list.txt", "a.png 1 2.5\nin/b.png 2\n")
    data = FileList(file, task="regression")
    assert data.record(0)["target"]["value"].tolist() == [1.0, 2.5]
    assert data.record(0)["target"]["value"].dtype == np.float32
    with pytest.raises(BadSample, match="value is not a number"):
        data.record(1)


def test_several_labels_and_none(place: Path) -> None:
    data = FileList(_write(place / "list.txt", "a.png dog cat\nin/b.png\n"))
    assert data.task == "multilabel"
    assert data.record(0)["target"]["class_ids"].tolist() == [1, 0]
    assert data.record(1)["target"]["class_ids"].tolist() == []
    data = FileList(_write(place / "list.txt", "a.png\nmy cat.png\n"))
    assert data.task == "generation"
    assert data.record(1) == {
        "x": Encoded(str(place / "my cat.png")),
        "target": {},
        "meta": {"index": 1, "path": str(place / "my cat.png")},
    }


def test_a_split_is_a_list_and_root_is_elsewhere(place: Path) -> None:
    lists = place / "lists"
    lists.mkdir()
    _write(lists / "train.txt", "a.png x\nin/b.png y\n")
    _write(lists / "val.txt", "my cat.png y\n")
    train = FileList(lists, split="train", root=place)
    val = FileList(lists, split="val", root=place, classes=train.class_names)
    assert val.record(0)["target"] == {"class_id": 1}
    with pytest.raises(UserError, match=r"no list test\.txt\. There is train, val\."):
        FileList(lists, split="test")
    with pytest.raises(UserError, match="none of the first files is there"):
        FileList(lists, split="train")


def test_other_encodings_are_named(place: Path) -> None:
    save_picture(place / "猫.png", 1)
    file = _write(place / "list.txt", "猫.png 好\na.png 差\n", "gb18030")
    with pytest.raises(UserError, match=r"list\.txt:1: byte .* is not UTF-8"):
        FileList(file)
    data = FileList(file, encoding="gb18030")
    assert data[0]["x"].shape == (12, 16, 3)


def test_a_label_outside_the_classes_spoils_its_sample(place: Path) -> None:
    data = FileList(_write(place / "list.txt", "a.png dog\nin/b.png eel\n"), classes=["dog"])
    assert data.record(0)["target"] == {"class_id": 0}
    with pytest.raises(BadSample, match="none of the 1 classes"):
        data.record(1)


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("a.png x y\n", {"task": "classification"}, r"list\.txt:1: 2 labels where one"),
        ("a.png 1\nin/b.png x\n", {"task": "regression"}, r"list\.txt:2: 'x' is no number"),
        ("# nothing\n\n", {}, "the list holds no file"),
        (",x\na.png,y\n", {}, r"list\.txt:1: a line without a path"),
        ("a.png x\n", {"separator": ";"}, "separator: ';'"),
        ("a.png x\n", {"task": "detection"}, "cannot serve task 'detection'"),
    ],
)
def test_what_is_wrong_is_one_line(
    place: Path, text: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        FileList(_write(place / "list.txt", text), **arguments)
    assert "\n" not in str(error.value)


def test_a_missing_list_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such list file"):
        FileList(tmp_path / "nothing.txt")


def test_a_large_list_is_kept(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_index, "KEEP_FROM", 2)
    monkeypatch.setattr(kept_index, "_YOUNG_NS", 0)
    file = _write(place / "list.txt", "a.png x\nin/b.png y\n")
    FileList(file, index_dir=place / "kept")
    again = FileList(file, index_dir=place / "kept")
    assert again.index.path is not None
    assert again.class_names == ("x", "y")
    _write(file, "a.png z\nin/b.png y\n")
    assert FileList(file, index_dir=place / "kept").class_names == ("y", "z")
