"""One mask file per object: boxes around them, their union, their number, and broken folders."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.instance_masks import InstanceMasks
from cvtrainer.data.sample import BadSample
from tests.data.conftest import save_picture

Box = tuple[int, int, int, int]


def _folder(root: Path, name: str, boxes: list[Box], size: tuple[int, int] = (12, 16)) -> None:
    save_picture(root / name / "images" / f"{name}.png", len(boxes))
    (root / name / "masks").mkdir(exist_ok=True)
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        mask = np.zeros(size, dtype=np.uint8)
        mask[y1:y2, x1:x2] = 255
        Image.fromarray(mask).save(root / name / "masks" / f"{number}.png")


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    """a has two objects and an empty mask, b none."""
    root = tmp_path / "cells"
    _folder(root, "a", [(2, 3, 6, 8), (4, 4, 4, 4), (0, 0, 16, 1)])
    _folder(root, "b", [])
    (root / "readme.txt").write_text("about")
    return root


@pytest.mark.seed("S3-82", "S3-83")
def test_instances(cells: Path) -> None:
    data = InstanceMasks(cells)
    assert data.classes == {"object": 0}
    assert len(data) == 2
    target = data[0]["target"]
    assert target["boxes"].tolist() == [[2, 3, 6, 8], [0, 0, 16, 1]]
    assert target["boxes"].dtype == np.float32
    assert target["box_labels"].tolist() == [0, 0]
    assert target["masks"].shape == (2, 12, 16)
    assert target["masks"].dtype == np.uint8
    assert target["masks"].sum(axis=(1, 2)).tolist() == [20, 16]
    empty = data[1]["target"]
    assert empty["boxes"].shape == (0, 4)
    assert empty["masks"].shape == (0, 12, 16)


def test_other_tasks(cells: Path) -> None:
    assert set(InstanceMasks(cells, task="detection")[0]["target"]) == {"boxes", "box_labels"}
    segmentation = InstanceMasks(cells, task="segmentation", classes=["cell"])
    assert segmentation.classes == {"background": 0, "cell": 1}
    mask = segmentation[0]["target"]["mask"]
    assert mask.shape == (12, 16)
    assert mask.sum() == 36
    again = InstanceMasks(cells, task="segmentation", classes=segmentation.class_names)
    assert again.classes == segmentation.classes
    count = InstanceMasks(cells, task="regression")
    assert [count[row]["target"]["value"] for row in range(2)] == [3.0, 0.0]
    assert InstanceMasks(cells, task="generation")[0]["target"] == {}


def test_a_split_is_a_folder(cells: Path) -> None:
    assert len(InstanceMasks(cells.parent, split="cells")) == 2
    with pytest.raises(UserError, match="no such data folder"):
        InstanceMasks(cells.parent, split="val")
    with pytest.raises(UserError, match="no folder has a picture"):
        InstanceMasks(cells.parent)


def test_folders_without_one_picture_are_counted(cells: Path) -> None:
    (cells / "c" / "images").mkdir(parents=True)
    _folder(cells, "d", [])
    save_picture(cells / "d" / "images" / "more.png", 1)
    data = InstanceMasks(cells)
    assert data.left_out == ("c", "d")
    assert data.notes == ("2 folders have not one picture and are left out",)


def test_masks_of_different_sizes_are_a_bad_sample(cells: Path) -> None:
    _folder(cells, "c", [(0, 0, 2, 2)])
    _folder(cells, "d", [(0, 0, 2, 2)], (10, 16))
    Image.fromarray(np.zeros((11, 16), dtype=np.uint8)).save(cells / "c" / "masks" / "x.png")
    data = InstanceMasks(cells)
    with pytest.raises(BadSample, match="the mask is 16x11, but the first one 16x12"):
        data[2]
    with pytest.raises(BadSample, match="the masks are 16x10, but the picture 16x12") as error:
        data[3]
    assert error.value.kind == "size"


def test_unreadable_files_are_bad_samples(cells: Path) -> None:
    (cells / "a" / "masks" / "1.png").write_bytes(b"nothing")
    (cells / "b" / "images" / "b.png").write_bytes(b"nothing")
    data = InstanceMasks(cells)
    with pytest.raises(BadSample, match=r"1\.png"):
        data[0]
    with pytest.raises(BadSample, match=r"b\.png"):
        data[1]


def test_one_class_only(cells: Path) -> None:
    with pytest.raises(UserError, match="2 classes, but the masks do not say"):
        InstanceMasks(cells, classes=["a", "b"])


def test_nuclei(data_sets: Path) -> None:
    root = data_sets / "nuclei-dsb2018"
    data = InstanceMasks(root, classes=["nucleus"])
    assert len(data) == 78
    assert data.left_out == ()
    count = InstanceMasks(root, task="regression")
    with (root / "counts.csv").open() as file:
        table = {row["image"]: float(row["num_nuclei"]) for row in csv.DictReader(file)}
    found = {Path(count.file(k)).stem: count.field("value", k) for k in range(len(count))}
    assert {Path(name).stem: value for name, value in table.items()} == found
    assert sum(found.values()) == 1501
    assert sum(len(data[row]["target"]["boxes"]) for row in range(len(data))) == 1501
