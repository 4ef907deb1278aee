"""Tables as public sets have them: one-hot and -1/1 columns, tags, quotes, numbers as labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets import ArrayFile, FileList, SeriesFile, Table
from cvtrainer.data.detection import detect
from tests.data.conftest import save_picture
from tests.data.sounds import wav_bytes

FLAGS = ["rust", "scab"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "c.png"):
        save_picture(tmp_path / name, 1)
    return tmp_path


def _table(folder: Path, text: str, ending: str = "csv") -> Path:
    path = folder / f"table.{ending}"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def _tags(data: Table) -> list[list[str]]:
    names = list(data.classes)
    return [[names[k] for k in data[i]["target"]["class_ids"]] for i in range(len(data))]


@pytest.mark.seed("S3-81")
@pytest.mark.parametrize("role", ["label", "labels"])
def test_one_hot_columns_are_the_class(folder: Path, role: str) -> None:
    table = _table(folder, "image,rust,scab\na.png,0,1\nb.png,1,0\nc.png,0,0\n")

    data = Table(table, columns={role: FLAGS}, task="classification")
    turned = Table(table, columns={role: FLAGS}, task="classification", classes=["scab", "rust"])

    assert (list(data.classes), data.labels.tolist()) == (FLAGS, [1, 0, -1])
    assert (list(turned.classes), turned.labels.tolist()) == (["scab", "rust"], [0, 1, -1])


@pytest.mark.seed("S3-81")
def test_two_classes_of_one_row_are_refused_as_one_class(folder: Path) -> None:
    table = _table(folder, "image,rust,scab\na.png,0,1\nb.png,1,1\n")

    with pytest.raises(UserError, match=r"row 2 has 2 classes.*multilabel"):
        Table(table, columns={"label": FLAGS})


@pytest.mark.seed("S3-81")
def test_minus_one_is_no_and_classes_give_the_order(folder: Path) -> None:
    table = _table(folder, "image,rust,scab\na.png,-1,1\nb.png,1,1\nc.png,-1,-1\n")

    data = Table(table, columns={"labels": FLAGS}, classes=["scab", "rust"])

    assert _tags(data) == [["scab"], ["scab", "rust"], []]
    with pytest.raises(UserError, match="not the names of the 2 columns"):
        Table(table, columns={"labels": FLAGS}, classes=["scab", "rot"])


@pytest.mark.seed("S3-81")
@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (("sea  ship ", "ship"), [["sea", "ship"], ["ship"]]),
        (("sea|", "ship"), [["sea"], ["ship"]]),
        (("\"['sea', 'big ship']\"", "[]"), [["sea", "big ship"], []]),
        (('"[""sea"",""ship""]"', '"[""ship""]"'), [["sea", "ship"], ["ship"]]),
    ],
)
def test_tags_as_they_are_written(
    folder: Path, cells: tuple[str, str], expected: list[list[str]]
) -> None:
    table = _table(folder, f"image,tags\na.png,{cells[0]}\nb.png,{cells[1]}\n")

    assert [sorted(tags) for tags in _tags(Table(table))] == [sorted(tags) for tags in expected]


@pytest.mark.seed("S3-81")
@pytest.mark.parametrize("cells", [("3", "10", "NA"), ("3.0", "10.0", "")])
def test_a_missing_number_is_no_class_and_floats_are_whole(
    folder: Path, cells: tuple[str, str, str]
) -> None:
    rows = zip(("a.png", "b.png", "c.png"), cells, strict=True)
    table = _table(folder, "image,label\n" + "".join(f"{p},{c}\n" for p, c in rows))

    data = Table(table)

    assert (list(data.classes), data.labels.tolist()) == (["3", "10"], [0, 1, -1])


@pytest.mark.seed("S3-81")
def test_quotes_between_tabs_hold_no_lines_together(tmp_path: Path) -> None:
    bare = 'label\ttext\n1\t"很差\n0\t15寸"笔记本"的\n1\t"好"\n'
    table = Table(_table(tmp_path, bare, "tsv"))
    texts = [table[i]["x"] for i in range(len(table))]
    assert texts == ['"很差', '15寸"笔记本"的', '"好"']

    quoted = Table(_table(tmp_path, 'label\ttext\n1\t"two\nlines"\n0\t"a ""word"""\n', "tsv"))
    assert [quoted[i]["x"] for i in range(len(quoted))] == ["two\nlines", 'a "word"']


@pytest.mark.seed("S3-81")
def test_captions_and_records_are_no_classes(folder: Path) -> None:
    lines = [{"file_name": "a.png", "text": "a cat"}, {"file_name": "b.png", "text": "a dog"}]
    with pytest.raises(UserError, match=r"no column is clearly the target.*text"):
        Table(_table(folder, "\n".join(map(json.dumps, lines)), "jsonl"))

    line = {"file_name": "a.png", "objects": {"bbox": [[1, 1, 2, 2]], "categories": [0]}}
    with pytest.raises(UserError, match="a column of labels holds struct"):
        Table(_table(folder, json.dumps(line), "jsonl"))


@pytest.mark.seed("S3-81")
def test_a_table_or_list_of_sounds(tmp_path: Path) -> None:
    for name in ("1.wav", "2.WAV"):
        (tmp_path / name).write_bytes(wav_bytes(np.zeros(8), rate=8000))
    table = _table(tmp_path, "filename,fold,target,category\n1.wav,1,0,dog\n2.WAV,1,14,rain\n")
    (tmp_path / "list.txt").write_text("1.wav dog\n2.WAV rain\n")

    for data in (Table(table), FileList(tmp_path / "list.txt")):
        assert list(data.classes) == ["dog", "rain"]
        assert (data[1]["x"].shape, data[1]["meta"]["sample_rate"]) == ((8,), 8000)


@pytest.mark.seed("S3-81")
def test_usual_names_of_columns(folder: Path) -> None:
    text = "Filename;Width;Height;Roi.X1;ClassId\na.png;16;12;1;2\nb.png;16;12;3;0\n"
    assert Table(_table(folder, text)).labels.tolist() == [1, 0]
    assert Table(_table(folder, "label\ttext_a\n1\tgood\n0\tbad\n", "tsv"))[0]["x"] == "good"


@pytest.mark.seed("S3-81")
def test_series_of_the_ucr_archive(tmp_path: Path) -> None:
    rows = "10\t1.5\t2.5\tNaN\n2\t1.0\tNaN\t4.0\n"
    for part in ("TRAIN", "TEST"):
        (tmp_path / f"Walk_{part}.tsv").write_text(rows)

    data = SeriesFile(tmp_path, split="train")

    assert detect(tmp_path).type == detect(tmp_path / "Walk_TEST.tsv").type == "series_file"
    assert (list(data.classes), data.labels.tolist()) == (["2", "10"], [1, 0])
    assert [data[i]["x"][:, 0].tolist() for i in range(2)] == [[1.5, 2.5], [1.0, 2.5, 4.0]]


@pytest.mark.seed("S3-81")
def test_one_hot_arrays_have_one_class_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    images = np.zeros((3, 8, 8, 3), dtype=np.uint8)

    np.savez(path, x=images, y=np.array([[0, 1], [0, 0], [1, 0]]))
    assert ArrayFile(path, task="classification").labels.tolist() == [1, -1, 0]

    np.savez(path, x=images, y=np.array([[0, 1], [1, 1], [1, 0]]))
    with pytest.raises(UserError, match="row 1 has 2 classes"):
        ArrayFile(path, task="classification")

    np.savez(path, x=images[:0], y=np.zeros(0, dtype=np.int64))
    with pytest.raises(UserError, match="x has no rows"):
        ArrayFile(path)
