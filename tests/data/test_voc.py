"""Pascal VOC: the known layouts, splits, flags, class masks, and files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.voc import Voc
from cvtrainer.data.sample import BadSample
from tests.data.conftest import save_picture

Thing = tuple[str, tuple[float, ...], int]


def _xml(name: str, things: list[Thing], size: tuple[int, int] = (16, 12)) -> str:
    objects = "".join(
        f"<object><name>{label}</name><truncated>0</truncated><difficult>{hard}</difficult><bndbox>"
        f"<xmin>{b[0]}</xmin><ymin>{b[1]}</ymin><xmax>{b[2]}</xmax><ymax>{b[3]}</ymax>"
        "</bndbox></object>"
        for label, b, hard in things
    )
    return (
        f"<annotation><filename>{name}.png</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height></size>{objects}</annotation>"
    )


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Four pictures: a has two objects, b a difficult and an empty box, c none, d no XML."""
    root = tmp_path / "voc"
    for seed, name in enumerate("abcd"):
        save_picture(root / "JPEGImages" / f"{name}.png", seed)
    things: dict[str, list[Thing]] = {
        "a": [("dog", (2, 3, 6, 8), 0), ("cat", (1, 1, 4, 4), 0)],
        "b": [("dog", (5, 5, 9, 9), 1), ("dog", (7, 7, 7, 7), 0)],
        "c": [],
    }
    (root / "Annotations").mkdir()
    for name, objects in things.items():
        (root / "Annotations" / f"{name}.xml").write_text(_xml(name, objects))
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("b\na\n")
    (lists / "val.txt").write_text("c\nd\n")
    (lists / "dog_train.txt").write_text("b  1\na -1\n")
    return root


@pytest.mark.seed("S3-82", "S3-83")
def test_boxes_and_splits(voc: Path) -> None:
    data = Voc(voc)
    assert data.classes == {"cat": 0, "dog": 1}
    assert [data[k]["meta"]["path"][-5] for k in range(len(data))] == ["a", "b", "c"]
    target = data[0]["target"]
    assert target["boxes"].tolist() == [[2, 3, 6, 8], [1, 1, 4, 4]]
    assert target["box_labels"].tolist() == [1, 0]
    assert data[2]["target"]["boxes"].shape == (0, 4)
    train = Voc(voc, split="train")
    assert [train[k]["meta"]["path"][-5] for k in range(len(train))] == ["b", "a"]
    with pytest.raises(UserError, match=r"no list test\.txt .*Lists here: dog_train, train, val"):
        Voc(voc, split="test")


def test_a_split_numbers_classes_as_the_whole_set_does(voc: Path) -> None:
    (voc / "ImageSets" / "Main" / "one.txt").write_text("b\n")
    assert Voc(voc, split="one").classes == {"cat": 0, "dog": 1}


def test_boxes_without_an_area_are_left_out_and_counted(voc: Path) -> None:
    data = Voc(voc)
    assert data[1]["target"]["boxes"].tolist() == [[5, 5, 9, 9]]
    assert data.raw_boxes(1)[0].tolist() == [[5, 5, 9, 9], [7, 7, 7, 7]]
    assert "1 boxes without an area are left out" in data.notes


def test_flagged_objects_can_be_left_out(voc: Path) -> None:
    assert Voc(voc, leave_out=["difficult"])[1]["target"]["boxes"].shape == (0, 4)
    with pytest.raises(UserError, match="leave_out names crowd"):
        Voc(voc, leave_out=["crowd"])


def test_one_based_boxes_cover_their_last_pixel(voc: Path) -> None:
    data = Voc(voc, one_based=True)
    assert data[0]["target"]["boxes"].tolist() == [[1, 2, 6, 8], [0, 0, 4, 4]]
    assert data[1]["target"]["boxes"].tolist() == [[4, 4, 9, 9], [6, 6, 7, 7]]


def test_pictures_without_xml(voc: Path) -> None:
    data = Voc(voc)
    assert data.left_out == ("d",)
    assert "1 pictures have no XML file and are left out" in data.notes
    assert len(Voc(voc, missing="empty")) == 4
    assert Voc(voc, split="val", missing="empty")[1]["target"]["box_labels"].shape == (0,)
    with pytest.raises(UserError, match="1 pictures have no XML file, the first is d"):
        Voc(voc, missing="error")


def test_classes_can_be_given(voc: Path) -> None:
    data = Voc(voc, classes=["eel", "dog", "cat"])
    assert data[0]["target"]["box_labels"].tolist() == [1, 2]
    with pytest.raises(UserError, match="class cat is not among"):
        Voc(voc, classes=["dog"])


def test_multilabel_and_classification(voc: Path) -> None:
    assert Voc(voc, task="multilabel")[0]["target"]["class_ids"].tolist() == [0, 1]
    with pytest.raises(UserError, match="task classification needs class_id"):
        Voc(voc, task="classification")
    (voc / "ImageSets" / "Main" / "one.txt").write_text("b\n")
    data = Voc(voc, split="one", task="classification")
    assert data[0]["target"] == {"class_id": 1}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("<annotation>", "cannot be read"),
        ("", "cannot be read"),
        (_xml("a", [("dog", (1, 2, 3, 4), 0)]).replace("<xmax>3</xmax>", ""), "has no xmax"),
        (_xml("a", [("dog", (1, 2, 3, 4), 0)]).replace(">3<", ">wide<"), "cannot be read"),
        (_xml("a", [("", (1, 2, 3, 4), 0)]), "an object has no name"),
        ('<!DOCTYPE a [<!ENTITY x "y">]><annotation/>', "declares entities"),
    ],
)
def test_an_unreadable_file_spoils_its_picture_only(voc: Path, content: str, what: str) -> None:
    file = voc / "Annotations" / "a.xml"
    file.write_text(content)
    data = Voc(voc)
    with pytest.raises(BadSample, match=what) as error:
        data[0]
    assert error.value.where == str(file)
    assert error.value.kind == "annotation"
    assert len(data[1]["target"]["boxes"]) == 1
    assert "the annotations of 1 pictures cannot be used" in data.notes


def test_a_missing_picture_is_a_bad_sample(voc: Path) -> None:
    (voc / "JPEGImages" / "a.png").unlink()
    data = Voc(voc)
    with pytest.raises((OSError, BadSample)):
        data[0]
    assert data[1]["x"].shape == (12, 16, 3)


def test_a_size_of_zero_counts_as_not_given(voc: Path) -> None:
    (voc / "Annotations" / "a.xml").write_text(_xml("a", [("dog", (1, 2, 3, 4), 0)], (0, 0)))
    assert Voc(voc)[0]["x"].shape == (12, 16, 3)
    (voc / "Annotations" / "a.xml").write_text(_xml("a", [("dog", (1, 2, 3, 4), 0)], (12, 16)))
    with pytest.raises(BadSample, match="annotated as 12x16"):
        Voc(voc)[0]


def test_class_masks(voc: Path) -> None:
    mask = np.zeros((12, 16), dtype=np.uint8)
    mask[3:8, 2:6], mask[0] = 2, 255
    picture = Image.fromarray(mask, mode="P")
    picture.putpalette([value % 256 for value in range(768)])
    (voc / "SegmentationClass").mkdir()
    picture.save(voc / "SegmentationClass" / "a.png")
    data = Voc(voc, task="segmentation")
    assert data.classes == {"background": 0, "cat": 1, "dog": 2}
    assert len(data) == 1
    np.testing.assert_array_equal(data[0]["target"]["mask"], mask)
    assert "3 pictures have no mask and are left out" in data.notes


def test_a_loose_layout(tmp_path: Path) -> None:
    save_picture(tmp_path / "images" / "a.png", 0)
    (tmp_path / "annotations" / "xmls").mkdir(parents=True)
    (tmp_path / "annotations" / "xmls" / "a.xml").write_text(_xml("a", [("cat", (1, 2, 3, 4), 0)]))
    (tmp_path / "annotations" / "test.txt").write_text("# names\na 1 1 1\n")
    assert Voc(tmp_path, split="test")[0]["target"]["boxes"].tolist() == [[1, 2, 3, 4]]
    with pytest.raises(UserError, match="no such data folder"):
        Voc(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no folder of XML files"):
        Voc(tmp_path / "images")


def test_blood_cells(data_sets: Path) -> None:
    root = data_sets / "bccd-voc"
    data = Voc(root)
    assert len(data) == 364
    labels = np.concatenate([data.raw_boxes(row)[1] for row in range(len(data))])
    assert data.classes == {"Platelets": 0, "RBC": 1, "WBC": 2}
    assert len(labels) == 4888
    assert np.bincount(labels).tolist() == [361, 4155, 372]
    assert "2 boxes without an area are left out" in data.notes
    for row in range(0, len(data), 40):
        assert data[row]["x"].shape == (480, 640, 3)
    sizes = [len(Voc(root, split=split)) for split in ("train", "val", "test", "trainval")]
    assert sizes == [205, 87, 72, 292]


def test_pet_heads(data_sets: Path) -> None:
    root = data_sets / "pets-trimap"
    data = Voc(root)
    assert len(data) == 150
    assert len(data.left_out) == 61
    assert data.classes == {"cat": 0, "dog": 1}
    assert len(Voc(root, missing="empty")) == 211
    assert len(Voc(root, split="trainval", missing="empty")) == 150
    assert len(Voc(root, split="test", missing="empty")) == 60
    for row in range(len(data)):
        data[row]
