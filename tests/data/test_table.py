"""Tables: every kind of file, every task, columns found or refused, cells that are missing."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading import kept_index
from cvtrainer.data.datasets.table import Table
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.sample import BadSample
from tests.data.conftest import save_picture

Records = list[dict[str, Any]]

RECORDS: Records = [
    {"image": "a.png", "label": "dog", "size": 1.5},
    {"image": "b.png", "label": "cat", "size": 2.0},
    {"image": "c.png", "label": "dog", "size": 3.25},
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the pictures a.png, b.png and c.png."""
    for k, name in enumerate("abc"):
        save_picture(tmp_path / f"{name}.png", k)
    return tmp_path


def _csv(path: Path, records: Records) -> None:
    lines = [",".join(records[0])] + [",".join(str(v) for v in r.values()) for r in records]
    path.write_text("\n".join(lines) + "\n")


def _tsv(path: Path, records: Records) -> None:
    lines = ["\t".join(records[0])] + ["\t".join(str(v) for v in r.values()) for r in records]
    path.write_text("\r\n".join(lines))


def _excel(path: Path, records: Records) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    for row in [list(records[0])] + [list(r.values()) for r in records]:
        book.active.append(row)
    book.save(path)


def _json(path: Path, records: Records) -> None:
    path.write_text(json.dumps(records))


def _json_lines(path: Path, records: Records) -> None:
    path.write_text("\n".join(json.dumps(r) for r in records))


def _parquet(path: Path, records: Records) -> None:
    parquet.write_table(pa.Table.from_pylist(records), path)


def _arrow(path: Path, records: Records) -> None:
    table = pa.Table.from_pylist(records)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


WRITERS: dict[str, Callable[[Path, Records], None]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".xlsx": _excel,
    ".json": _json,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
}


@pytest.mark.seed("S3-82")
@pytest.mark.parametrize("ending", WRITERS)
def test_every_kind_of_file_gives_the_same_samples(place: Path, ending: str) -> None:
    file = place / f"t{ending}"
    WRITERS[ending](file, RECORDS)
    data = Table(file)
    assert data.task == "classification"
    assert data.classes == {"cat": 0, "dog": 1}
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0, 1]
    assert data.record(2)["x"] == Encoded(str(place / "c.png"))
    assert data.record(2)["target"] == {"class_id": 1}
    assert data[0]["x"].shape == (12, 16, 3)
    assert data.evidence[0] == "image: image (its cells are image files)"
    assert data.evidence[1] == "label: label (its name says so)"
    sizes = Table(file, task="regression")
    assert [sizes.record(k)["target"]["value"] for k in range(3)] == [1.5, 2.0, 3.25]
    assert pickle.loads(pickle.dumps(data)).record(1) == data.record(1)


def _write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_marks_line_ends_and_quotes_are_no_matter(place: Path) -> None:
    text = 'label,text\r\n"a, b","two\r\nlines"\r\nc,"says ""no"""\r\n'
    data = Table(_write(place / "t.csv", text, "utf-8-sig"))
    assert data.class_names == ("a, b", "c")
    assert data[0]["x"] == "two\r\nlines"
    assert data[1]["x"] == 'says "no"'


@pytest.mark.parametrize(("separator", "ending"), [(";", ".csv"), ("|", ".txt"), ("\t", ".csv")])
def test_separators_are_seen(place: Path, separator: str, ending: str) -> None:
    text = f"text{separator}label\nhello{separator}1\nbye{separator}0\n"
    data = Table(_write(place / f"t{ending}", text))
    assert data[0] == {
        "x": "hello",
        "target": {"class_id": 1},
        "meta": {"index": 0, "path": f"{place / 't'}{ending}[0]"},
    }


def test_another_encoding_is_refused_with_advice_and_read_when_named(place: Path) -> None:
    file = _write(place / "t.csv", "text,label\n很好,好\n太差,差\n", "gb18030")
    with pytest.raises(UserError, match=r"t\.csv:2: byte .* is not UTF-8.*gb18030"):
        Table(file)
    data = Table(file, read={"encoding": "gb18030"})
    assert data[0]["x"] == "很好"
    assert set(data.classes) == {"好", "差"}
    file = _write(place / "w.csv", "text,label\ncaf\xe9,a\nth\xe9,b\n", "cp1252")
    with pytest.raises(UserError, match="is not UTF-8"):
        Table(file)
    assert Table(file, read={"encoding": "cp1252"})[0]["x"] == "café"
    file = _write(place / "u.csv", "text,label\nü,a\nö,b\n", "utf-16")
    with pytest.raises(UserError, match="the text is utf-16, not UTF-8"):
        Table(file)
    assert Table(file, read={"encoding": "utf-16"})[0]["x"] == "ü"


def test_labels_that_look_like_numbers_keep_their_zeros_and_order(place: Path) -> None:
    data = Table(_write(place / "t.csv", "image,label\na.png,007\nb.png,7\nc.png,10\n"))
    assert data.class_names == ("007", "10", "7")
    data = Table(_write(place / "t.csv", "image,label\na.png,2\nb.png,10\nc.png,0\n"))
    assert data.class_names == ("0", "2", "10")
    bound = Table(place / "t.csv", classes=[str(k) for k in range(11)])
    assert bound.labels is not None
    assert bound.labels.tolist() == [2, 10, 0]
    names = Table(_write(place / "t.csv", "image,label\na.png,1\nb.png,0\n"), classes=["x", "y"])
    assert names.record(0)["target"] == {"class_id": 1}


def test_a_label_that_is_missing_or_unknown_is_a_bad_sample(place: Path) -> None:
    file = _write(place / "t.csv", "image,label\na.png,dog\nb.png,\nc.png,eel\n")
    data = Table(file, classes=["cat", "dog"])
    assert data.labels is not None
    assert data.labels.tolist() == [1, -1, -1]
    for row in (1, 2):
        with pytest.raises(BadSample, match="missing or none of the 2 classes") as error:
            data.record(row)
        assert error.value.kind == "label"
    with pytest.raises(UserError, match="no label is among the 1 classes"):
        Table(file, classes=["fox"])


def test_paths_are_made_from_other_columns(place: Path) -> None:
    save_picture(place / "p" / "007.png", 1)
    save_picture(place / "p" / "010.png", 2)
    file = _write(place / "t.csv", "id,label\n007,a\n010,b\n")
    data = Table(file, columns={"image": "p/{id}.png"})
    assert data.file(0) == str(place / "p" / "007.png")
    with pytest.raises(UserError, match="no column 'it' for"):
        Table(file, columns={"image": "p/{it}.png"})


def test_images_elsewhere_are_told_at_once(place: Path) -> None:
    file = _write(place / "inner.csv", "image,label\ninner\\a.png,x\ninner\\b.png,y\n")
    with pytest.raises(UserError, match=r"none of the first files is there.*root"):
        Table(file)
    for name in "ab":
        save_picture(place / "far" / "inner" / f"{name}.png", 1)
    assert Table(file, root=place / "far")[1]["x"].shape == (12, 16, 3)


@pytest.mark.parametrize("cells", ["a|b\n;b.png\n", '"a,b"\n', "a b\n"])
def test_several_labels_in_a_cell(place: Path, cells: str) -> None:
    first = cells.split("\n")[0]
    file = _write(place / "t.csv", f"image,labels\na.png,{first}\nb.png,\nc.png,b\n")
    data = Table(file)
    assert data.task == "multilabel"
    assert data.class_names == ("a", "b")
    found = [data.record(k)["target"]["class_ids"].tolist() for k in range(3)]
    assert found == [[0, 1], [], [1]]


def test_several_labels_as_lists_and_as_columns(place: Path) -> None:
    file = place / "t.json"
    _json(file, [{"image": "a.png", "labels": ["x", "y"]}, {"image": "b.png", "labels": []}])
    assert Table(file).record(0)["target"]["class_ids"].tolist() == [0, 1]
    assert Table(file).record(1)["target"]["class_ids"].tolist() == []
    file = _write(place / "t.csv", "image,sun,rain\na.png,1,0\nb.png,1,1\n")
    data = Table(file, columns={"labels": ["sun", "rain"]})
    assert data.class_names == ("sun", "rain")
    assert data.record(1)["target"]["class_ids"].tolist() == [0, 1]
    assert data.record(0)["target"]["class_ids"].tolist() == [0]


def test_values_are_numbers_or_vectors(place: Path) -> None:
    file = _write(place / "t.csv", "image,u,v\na.png,1,2\nb.png,3,\nc.png,5,6\n")
    data = Table(file, columns={"value": ["u", "v"]})
    assert data.task == "regression"
    value = data.record(2)["target"]["value"]
    assert value.dtype == np.float32
    assert value.tolist() == [5.0, 6.0]
    with pytest.raises(BadSample, match="value is not a number") as error:
        data.record(1)
    assert error.value.kind == "value"
    one = Table(file, columns={"value": "u"})
    assert one.record(1)["target"]["value"] == 3.0
    with pytest.raises(UserError, match="u and v could each be the value"):
        Table(file, task="regression")


BOXES = """image,xmin,ymin,xmax,ymax,label
a.png,1,2,5,6,dog
c.png,,,,,
a.png,0,0,3,4,cat
b.png,2,2,4,4,dog
"""


def test_a_row_per_box_becomes_a_sample_per_picture(place: Path) -> None:
    data = Table(_write(place / "t.csv", BOXES))
    assert data.task == "detection"
    assert data.classes == {"cat": 0, "dog": 1}
    assert [Path(data.file(k)).name for k in range(3)] == ["a.png", "c.png", "b.png"]
    target = data.record(0)["target"]
    assert target["boxes"].dtype == np.float32
    assert target["boxes"].tolist() == [[1, 2, 5, 6], [0, 0, 3, 4]]
    assert target["box_labels"].tolist() == [1, 0]
    assert data.record(1)["target"]["boxes"].shape == (0, 4)
    sides = BOXES.replace("xmin,ymin,xmax,ymax", "left,top,w,h")
    data = Table(_write(place / "t.csv", sides), columns={"boxes_xywh": ["left", "top", "w", "h"]})
    assert data.record(0)["target"]["boxes"].tolist() == [[1, 2, 6, 8], [0, 0, 3, 4]]


def test_boxes_and_points_as_lists(place: Path) -> None:
    file = place / "t.jsonl"
    rows: Records = [
        {"image": "a.png", "boxes": [[0, 1, 2, 3]], "box_labels": ["d"], "keypoints": [[1, 2]]},
        {"image": "b.png", "boxes": [], "box_labels": [], "keypoints": [[3, 4, 1]]},
        {"image": "c.png", "boxes": [[0, 1, 2]], "box_labels": ["d"], "keypoints": None},
    ]
    _json_lines(file, rows)
    with pytest.raises(UserError, match="the columns serve detection and keypoints"):
        Table(file)
    data = Table(file, task="detection")
    assert data.record(0)["target"]["boxes"].tolist() == [[0, 1, 2, 3]]
    assert data.record(0)["target"]["box_labels"].tolist() == [0]
    assert data.record(1)["target"]["boxes"].shape == (0, 4)
    with pytest.raises(BadSample, match="no boxes is given"):
        data.record(2)
    points = Table(file, task="keypoints")
    assert points.record(0)["target"]["keypoints"].tolist() == [[1, 2, 2]]
    assert points.record(1)["target"]["keypoints"].tolist() == [[3, 4, 1]]


def test_points_as_columns(place: Path) -> None:
    file = _write(place / "t.csv", "image,x1,y1,x2,y2\na.png,1,2,3,4\nb.png,5,6,,\n")
    data = Table(file, columns={"keypoints": ["x1", "y1", "x2", "y2"]})
    assert data.task == "keypoints"
    assert data.record(0)["target"]["keypoints"].tolist() == [[1, 2, 2], [3, 4, 2]]
    assert data.record(1)["target"]["keypoints"].tolist() == [[5, 6, 2], [0, 0, 0]]


def test_masks_and_annotated_sizes(place: Path) -> None:
    file = _write(place / "t.csv", "image,mask,width,height\na.png,b.png,16,12\n")
    data = Table(file, classes=["sky", "road"])
    assert data.task == "segmentation"
    record = data.record(0)
    assert record["target"]["mask"] == Encoded(str(place / "b.png"), "mask")
    assert record["meta"]["annotated_size"] == (12, 16)


def test_only_images_is_generation(place: Path) -> None:
    data = Table(_write(place / "t.csv", "file\na.png\nb.png\n"))
    assert data.task == "generation"
    assert data.record(1)["target"] == {}


def test_tables_without_images_give_vectors(place: Path) -> None:
    file = _write(place / "t.csv", "id,u,kind,v\n1,0.5,a,1\n2,,b,2\n3,1.5,a,3\n4,4,b,9\n")
    data = Table(file)
    assert data.evidence[-1] == "inputs: u, v (columns of numbers; id counts the rows)"
    assert data[0]["x"].dtype == np.float32
    assert data[0]["x"].tolist() == [0.5, 1.0]
    with pytest.raises(BadSample, match=r"t\.csv\[1\]: u has no value") as error:
        data[1]
    assert error.value.kind == "value"
    assert Table(file, missing="mean")[1]["x"].tolist() == [2.0, 2.0]
    assert Table(file, missing="zero")[1]["x"].tolist() == [0.0, 2.0]
    with pytest.raises(UserError, match=r"column kind holds 'a' in row 1, which is no number"):
        Table(file, columns={"inputs": ["kind"], "value": "u"})


@pytest.mark.parametrize("ending", [".json", ".parquet", ".arrow"])
def test_arrays_in_cells(place: Path, ending: str) -> None:
    file = place / f"t{ending}"
    rows: Records = [{"vector": [1.0, 2.0, k], "label": k % 2} for k in range(4)]
    rows.append({"vector": None, "label": 1})
    WRITERS[ending](file, rows)
    data = pickle.loads(pickle.dumps(Table(file)))
    assert data[3]["x"].dtype == np.float32
    assert data[3]["x"].tolist() == [1.0, 2.0, 3.0]
    assert data[3]["target"] == {"class_id": 1}
    with pytest.raises(BadSample, match="vector is empty"):
        data[4]
    if ending == ".arrow":
        assert len(pickle.dumps(data._holder)) < 500


def test_whole_files_in_cells(place: Path) -> None:
    content = (place / "a.png").read_bytes()
    parquet.write_table(
        pa.Table.from_pylist([{"image": {"bytes": content, "path": "a.png"}, "label": 0}] * 2),
        place / "t.parquet",
    )
    data = Table(place / "t.parquet")
    assert data[1]["x"].shape == (12, 16, 3)
    assert data.record(1)["x"].name == f"{place / 't.parquet'}!1"


def test_split_and_group_columns(place: Path) -> None:
    text = "image,label,split,patient\na.png,x,train,1\nb.png,y,Val,1\nc.png,z,train,02\n"
    file = _write(place / "t.csv", text)
    train = Table(file, split="train")
    assert train.class_names == ("x", "y", "z")
    assert list(train.groups or ()) == ["1", "02"]
    val = Table(file, split="val")
    assert val.record(0)["x"].path == str(place / "b.png")
    assert len(Table(file)) == 3
    with pytest.raises(UserError, match=r"no row belongs to split 'test'\. There is Val, train\."):
        Table(file, split="test")
    with pytest.raises(UserError, match="no column says which rows belong to split"):
        Table(_write(place / "u.csv", "image,label\na.png,x\n"), split="train")


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("image,class,label\na.png,1,2\n", {}, "class and label could each be the label"),
        ("front,back\na.png,b.png\n", {}, "front and back could each be the image"),
        ("image,n\na.png,5\n", {}, "n holds numbers; is it classification or regression"),
        ("image,n\na.png,5\n", {"columns": {"label": "m"}}, "no column 'm'"),
        ("image,n\na.png,5\n", {"columns": {"labl": "n"}}, "columns have no role 'labl'"),
        ("image,n\na.png,5\n", {"task": "sorting"}, "no task 'sorting'"),
        ("image,n\na.png,5\n", {"task": "keypoints"}, "no column is clearly the target of task"),
        ("image,n\na.png,5\n", {"missing": "no"}, "missing: 'no'"),
        ("image,n\na.png,5\n", {"read": {"page": 1}}, "read has no word 'page'"),
        ("a.png,5\nb.png,6\n", {}, "the first line holds 'a.png', which is no name"),
        ("image,n\n", {}, "the table has no rows"),
        ("image,n\na.png,5,6\n", {}, "the table cannot be read"),
        ("image,n,n\na.png,5,6\n", {"columns": {"label": "n"}}, "column n is there 2 times"),
    ],
)
def test_what_is_unclear_or_wrong_is_one_line(
    place: Path, text: str, arguments: dict[str, Any], message: str
) -> None:
    file = _write(place / "t.csv", text)
    with pytest.raises(UserError, match=message) as error:
        Table(file, **arguments)
    assert "\n" not in str(error.value)
    assert str(file) in str(error.value)


def test_files_that_are_no_tables(place: Path) -> None:
    for name, content, message in [
        ("t.jsonl", '{"a": 1}\nx\n', r"t\.jsonl:2: not JSON"),
        ("t.json", "{", "not readable as JSON"),
        ("t.json", '{"a": [1], "b": 3}', "no table: neither a list of records"),
        ("t.xls", "", r"no table is read from \.xls.*Save it as \.xlsx"),
        ("t.xlsx", "", "not readable as an Excel file"),
        ("t.parquet", "none", "the table cannot be read"),
        ("t.arrow", "none", "the table cannot be read"),
    ]:
        with pytest.raises(UserError, match=message):
            Table(_write(place / name, content))
    with pytest.raises(UserError, match="no such table file"):
        Table(place / "nothing.csv")


def test_decimal_commas(place: Path) -> None:
    file = _write(place / "t.csv", "u;label\n1,5;a\n2;b\n")
    with pytest.raises(UserError, match=r"holds '1,5' in row 1.*decimal comma"):
        Table(file, columns={"inputs": ["u"], "label": "label"})
    data = Table(file, read={"decimal": ","})
    assert data[0]["x"].tolist() == [1.5]


def test_a_column_that_changes_its_type_late_is_text(place: Path) -> None:
    rows = "".join(f"{k},x\n" for k in range(2_000_000))
    data = Table(
        _write(place / "t.csv", f"n,label\n{rows}none of them,y\n", "ascii"),
        columns={"text": "n", "label": "label"},
    )
    assert data[2_000_000]["x"] == "none of them"
    assert data[7]["x"] == "7"


def test_a_large_table_is_kept_and_never_stale(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_index, "KEEP_FROM", 3)
    monkeypatch.setattr(kept_index, "_YOUNG_NS", 0)
    file = place / "t.csv"
    _csv(file, RECORDS)
    read = {"index_dir": place / "kept"}
    first = Table(file, read=read)
    again = Table(file, read=read)
    assert again.index.path is not None
    assert again.classes == first.classes
    assert again.evidence == first.evidence
    assert pickle.loads(pickle.dumps(again)).record(1) == first.record(1)
    assert Table(file, task="regression", read=read).task == "regression"
    _csv(file, [*RECORDS, {"image": "a.png", "label": "eel", "size": 1}])
    assert Table(file, read=read).class_names == ("cat", "dog", "eel")


@pytest.mark.seed("S3-82")
@pytest.mark.parametrize(
    ("file", "arguments", "count", "bad"),
    [
        ("seaborn-data/penguins.csv", {"columns": {"label": "species"}}, 344, 2),
        ("plotly/iris.csv", {}, 150, 0),
        ("plotly/iris_data.json", {"columns": {"label": "class"}}, 150, 0),
        ("plotly/auto-mpg.csv", {"columns": {"value": "mpg"}}, 398, 2),
        ("plotly/titanic.csv", {"columns": {"label": "Survived"}}, 156, 30),
        ("plotly/diabetes.csv", {"columns": {"label": "Outcome"}}, 768, 0),
        ("plotly/tips.csv", {"columns": {"value": "tip"}}, 244, 0),
        (
            "plotly/global_super_store_orders.tsv",
            {
                "columns": {"inputs": ["Sales", "Quantity"], "label": "Category"},
                "read": {"decimal": ","},
            },
            1000,
            0,
        ),
        ("statsmodels/co2/co2.csv", {"columns": {"value": "co2"}}, 2284, 59),
    ],
)
def test_real_tables(
    data_sets: Path, file: str, arguments: dict[str, Any], count: int, bad: int
) -> None:
    data = Table(data_sets / "tables-series-text" / file, **arguments)
    assert len(data) == count
    spoiled = 0
    for k in range(count):
        try:
            assert data[k]["x"].ndim == 1
        except BadSample:
            spoiled += 1
    assert spoiled == bad


def test_real_sheets(data_sets: Path) -> None:
    file = data_sets / "tables-series-text" / "plotly" / "supermarket_sales.xlsx"
    columns = {"value": "Rating", "inputs": ["Quantity", "Unit price"]}
    with pytest.raises(UserError, match="3 sheets hold data: January, February, March"):
        Table(file, columns=columns)
    for sheet, count in {"January": 352, "February": 303, "March": 345, 2: 345}.items():
        assert len(Table(file, columns=columns, read={"sheet": sheet})) == count
    with pytest.raises(UserError, match=r"no sheet 'May'\. There is January, February, March"):
        Table(file, columns=columns, read={"sheet": "May"})


def test_counting_nuclei_is_regression_from_images(data_sets: Path) -> None:
    data = Table(data_sets / "nuclei-dsb2018" / "counts.csv", task="regression")
    assert len(data) == 78
    assert sum(data.record(k)["target"]["value"] for k in range(78)) == 1501
    assert data[0]["target"] == {"value": 7.0}
    assert data[0]["x"].shape == (256, 320, 3)
