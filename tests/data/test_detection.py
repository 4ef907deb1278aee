"""Detection: each storage from its path alone, none and two said, parts asked for."""

from __future__ import annotations

import gzip
import inspect
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.core.locate import import_target
from cvtrainer.data.detection import TYPES, Candidate, candidates, detect
from cvtrainer.data.picture_world import write_picture_world
from tests.data.conftest import save_picture
from tests.data.sounds import wav_bytes

XML = (
    "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax>"
    "<ymax>5</ymax></bndbox></object></annotation>"
)


def _text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def _mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.resize(np.array([0, 1], dtype=np.uint8), (12, 16))).save(path)


def _image_folder(root: Path) -> None:
    for name in ("cat", "dog"):
        save_picture(root / name / "1.png", 1)


def _split_folders(root: Path) -> None:
    for split in ("train", "val"):
        _image_folder(root / split)


def _coco(root: Path) -> None:
    save_picture(root / "images" / "a.png", 1)
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "cat"}],
    }
    _text(root / "annotations" / "instances.json", json.dumps(content))


def _voc(root: Path) -> None:
    save_picture(root / "JPEGImages" / "a.png", 1)
    _text(root / "Annotations" / "a.xml", XML)


def _voc_with_masks(root: Path) -> None:
    _voc(root)
    _mask(root / "SegmentationClass" / "a.png")


def _yolo(root: Path) -> None:
    save_picture(root / "images" / "train" / "a.png", 1)
    _text(root / "labels" / "train" / "a.txt", "0 0.5 0.5 0.2 0.2\n")
    _text(root / "data.yaml", "train: images/train\nnames: [cat]\n")


def _yolo_without_yaml(root: Path) -> None:
    _yolo(root)
    (root / "data.yaml").unlink()
    _text(root / "labels" / "classes.txt", "cat\n")


def _mask_pairs(root: Path) -> None:
    save_picture(root / "images" / "a.jpg", 1)
    _mask(root / "masks" / "a.png")


def _instance_masks(root: Path) -> None:
    for name in ("a", "b"):
        save_picture(root / name / "images" / f"{name}.png", 1)
        _mask(root / name / "masks" / "1.png")


def _instance_masks_with_table(root: Path) -> None:
    _instance_masks(root)
    _text(root / "counts.csv", "image,count\na/images/a.png,1\n")


def _tar(root: Path) -> None:
    save_picture(root / "1.png", 1)
    _text(root / "1.cls", "0")
    with tarfile.open(root / "shard-000.tar", "w") as archive:
        archive.add(root / "1.png", "1.png")
        archive.add(root / "1.cls", "1.cls")
    (root / "1.png").unlink()
    (root / "1.cls").unlink()


def _packed_tar(root: Path) -> None:
    _tar(root)
    content = (root / "shard-000.tar").read_bytes()
    (root / "shard-000.tar").unlink()
    (root / "shard-000.tar.gz").write_bytes(gzip.compress(content))


def _wav(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(wav_bytes(np.zeros(16), 8000))


def _sound_folders(root: Path) -> None:
    for name in ("yes", "no"):
        _wav(root / name / "1.wav")


def _sound_names(root: Path) -> None:
    for name in ("0_ann_0", "0_bob_0", "1_ann_0", "1_bob_0"):
        _wav(root / "recordings" / f"{name}.wav")
    _text(root / "README.md", "sounds")
    _text(root / "metadata.py.txt", "code")


def _texts(root: Path) -> None:
    for name in ("good", "bad"):
        _text(root / name / "1.txt", f"a {name} text")


def _lines(root: Path) -> None:
    for ending in ("pos", "neg"):
        _text(root / f"reviews.{ending}", "one\ntwo\n")


def _lines_per_class(root: Path) -> None:
    for name in ("good", "bad"):
        _text(root / f"{name}.txt", "one\ntwo\n")


def _series(root: Path) -> None:
    _text(
        root / "walk_TRAIN.ts",
        "@problemName walk\n@univariate true\n@classLabel true a b\n@data\n1,2:a\n2,3:b\n",
    )


def _arrays(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    np.savez(root / "data.npz", x=np.zeros((2, 3)), y=np.zeros(2))


def _idx(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name in ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"):
        (root / name).write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x02\1\2"))


def _file_list(root: Path) -> None:
    save_picture(root / "pictures" / "a.png", 1)
    save_picture(root / "pictures" / "b.png", 2)
    _text(root / "list.txt", "pictures/a.png cat\npictures/b.png dog\n")


def _table_of_pictures(root: Path) -> None:
    save_picture(root / "pictures" / "a.png", 1)
    save_picture(root / "pictures" / "b.png", 2)
    _text(root / "labels.csv", "file,label\npictures/a.png,cat\npictures/b.png,dog\n")


def _table(root: Path) -> None:
    _text(root / "iris.csv", "a,b,label\n1.5,2.5,x\n2.5,3.5,y\n")


def _world(root: Path) -> None:
    write_picture_world(root, train=6, val=6, size=16)


MADE: dict[str, tuple[Callable[[Path], None], str]] = {
    "class folders": (_image_folder, "image_folder"),
    "coco": (_coco, "coco"),
    "voc": (_voc, "voc"),
    "voc with masks": (_voc_with_masks, "voc"),
    "yolo": (_yolo, "yolo"),
    "yolo without yaml": (_yolo_without_yaml, "yolo"),
    "mask pairs": (_mask_pairs, "mask_pairs"),
    "instance masks": (_instance_masks, "instance_masks"),
    "instance masks with a table": (_instance_masks_with_table, "instance_masks"),
    "tar": (_tar, "web_dataset"),
    "sounds in folders": (_sound_folders, "audio_folder"),
    "sounds by name": (_sound_names, "audio_folder"),
    "texts": (_texts, "text_folder"),
    "lines": (_lines, "text_lines"),
    "lines per class": (_lines_per_class, "text_lines"),
    "series": (_series, "series_file"),
    "arrays": (_arrays, "array_file"),
    "idx": (_idx, "array_file"),
    "file list": (_file_list, "file_list"),
    "table of pictures": (_table_of_pictures, "table"),
    "table": (_table, "table"),
    "picture world": (_world, "picture_world"),
}


@pytest.mark.parametrize("name", MADE)
def test_each_storage_is_told_from_its_path(tmp_path: Path, name: str) -> None:
    make, expected = MADE[name]
    make(tmp_path / "data")
    found = detect(tmp_path / "data")
    assert found.type == expected
    assert found.evidence
    assert found.node["type"] == expected
    assert found.node["kwargs"]["data_path"].startswith(str(tmp_path / "data"))


def _open(path: Path, **words: Any) -> Any:
    found = detect(path, task=words.get("task"), split=words.get("split"))
    arguments = {**found.node["kwargs"], **words}
    return import_target(TYPES[found.type])(**arguments)


@pytest.mark.parametrize("name", [name for name in MADE if name != "idx"])
def test_what_is_told_can_be_opened(tmp_path: Path, name: str) -> None:
    MADE[name][0](tmp_path / "data")
    data = _open(tmp_path / "data")
    assert len(data) > 0
    assert data[0]["meta"]["index"] == 0


def test_every_type_takes_a_path_and_a_split() -> None:
    """Archives that are read in order are given part by part."""
    for name, target in TYPES.items():
        takes = set(inspect.signature(import_target(target)).parameters)
        assert "data_path" in takes
        assert ("split" in takes) == (name != "tar_stream")


def _only(path: Path) -> Candidate:
    (found,) = candidates(path)
    return found


@pytest.mark.parametrize(
    ("make", "file", "expected"),
    [
        (_coco, "annotations/instances.json", "coco"),
        (_yolo, "data.yaml", "yolo"),
        (_tar, "shard-000.tar", "web_dataset"),
        (_tar, "shard-{000..003}.tar", "web_dataset"),
        (_packed_tar, "shard-000.tar.gz", "tar_stream"),
        (_series, "walk_TRAIN.ts", "series_file"),
        (_arrays, "data.npz", "array_file"),
        (_idx, "train-images-idx3-ubyte.gz", "array_file"),
        (_file_list, "list.txt", "file_list"),
        (_table, "iris.csv", "table"),
    ],
)
def test_files_are_told_too(
    tmp_path: Path, make: Callable[[Path], None], file: str, expected: str
) -> None:
    make(tmp_path)
    assert _only(tmp_path / file).type == expected


def test_parts_are_asked_for(tmp_path: Path) -> None:
    _split_folders(tmp_path / "data")
    with pytest.raises(UserError, match=r"several parts: train, val. Give `split`"):
        detect(tmp_path / "data")
    data = _open(tmp_path / "data", split="val")
    assert data[0]["meta"]["path"] == str(tmp_path / "data" / "val" / "cat" / "1.png")
    assert detect(tmp_path / "data" / "val").type == "image_folder"
    _table(tmp_path / "tables")
    _text(tmp_path / "tables" / "more.csv", "a,b\n1,2\n")
    with pytest.raises(UserError, match=r"table with several parts: iris\.csv, more\.csv"):
        detect(tmp_path / "tables", split="more")


def test_two_are_an_error_that_names_both(tmp_path: Path) -> None:
    _voc(tmp_path)
    (tmp_path / "JPEGImages").rename(tmp_path / "images")
    _mask(tmp_path / "masks" / "a.png")
    with pytest.raises(UserError) as error:
        detect(tmp_path)
    text = str(error.value)
    assert "\n" not in text
    for part in ("voc (1 XML files", "mask_pairs (1 masks", "`type: voc` or `type: mask_pairs`"):
        assert part in text
    assert detect(tmp_path, task="segmentation").type == "mask_pairs"
    assert detect(tmp_path, task="detection").type == "voc"


def test_none_is_an_error_that_says_what_was_looked_for(tmp_path: Path) -> None:
    _text(tmp_path / "data" / "notes.doc", "nothing")
    with pytest.raises(UserError, match=r"not recognised.*Looked for class folders.*COCO JSON"):
        detect(tmp_path / "data")
    with pytest.raises(UserError, match="no such data folder or file"):
        detect(tmp_path / "nowhere")
    save_picture(tmp_path / "data" / "a.png", 1)
    with pytest.raises(UserError, match="not recognised"):
        detect(tmp_path / "data")
    assert detect(tmp_path / "data", task="generation").type == "image_folder"


def test_packed_archives_are_read_in_order(tmp_path: Path) -> None:
    _packed_tar(tmp_path)
    assert detect(tmp_path).type == "tar_stream"
    assert "only be read in order" in _only(tmp_path).evidence[0]


def test_a_huge_folder_is_not_walked(tmp_path: Path) -> None:
    """Looking stays cheap: a tree of many files is not read through."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(3000):
            (tmp_path / name / f"{number}.txt").touch()
        save_picture(tmp_path / name / "zz.png", 1)
    assert "image_folder" not in [one.type for one in candidates(tmp_path)]


REAL = {
    "bccd-voc": "voc",
    "nuclei-dsb2018": "instance_masks",
    "fashion-mnist": "array_file",
    "sign-language-digits": "image_folder",
    "spoken-digits-wav": "audio_folder",
    "tables-series-text/aeon/BasicMotions": "series_file",
    "tables-series-text/aeon/ItalyPowerDemand": "series_file",
    "tables-series-text/aeon/m1_yearly_dataset": "series_file",
    "tables-series-text/aeon/Airline": "table",
    "tables-series-text/rt-polarity": "text_lines",
    "tables-series-text/seaborn-data": "table",
    "tables-series-text/statsmodels/co2": "table",
    "tables-series-text/plotly/iris_data.json": "table",
    "tables-series-text/plotly/supermarket_sales.xlsx": "table",
    "tables-series-text/plotly/global_super_store_orders.tsv": "table",
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets(data_sets: Path, name: str) -> None:
    assert detect(data_sets / name).type == REAL[name]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("pets-trimap", "`type: voc` or `type: mask_pairs`"),
        ("odd-images", "`type: image_folder` or `type: table`"),
        ("tables-series-text", "not recognised"),
        ("tables-series-text/plotly", "table with several parts"),
    ],
)
def test_real_sets_that_are_not_one_thing(data_sets: Path, name: str, what: str) -> None:
    with pytest.raises(UserError, match=what):
        detect(data_sets / name)


def test_real_sets_open(data_sets: Path) -> None:
    assert len(_open(data_sets / "sign-language-digits")) == 2062
    assert len(_open(data_sets / "spoken-digits-wav")) == 300
    assert len(_open(data_sets / "bccd-voc", split="test")) == 72
    assert len(_open(data_sets / "pets-trimap", task="segmentation")) == 211
    assert len(_open(data_sets / "tables-series-text" / "rt-polarity")) == 10662
