"""Boxes as exports have them: marks at the beginning, odd ids, missing pictures, other letters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets import Coco, FileList, MaskPairs, Voc, Yolo
from cvtrainer.data.detection import detect
from tests.data.conftest import save_picture

CAT = {"id": 1, "name": "cat"}
BOX: dict[str, Any] = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}


def _coco(
    root: Path, *, images: list[Any], boxes: list[Any], cats: list[Any], mark: str = ""
) -> Path:
    file = root / "boxes.json"
    content = {"images": images, "annotations": boxes, "categories": cats}
    file.write_text(mark + json.dumps(content), encoding="utf-8")
    return file


@pytest.mark.seed("S3-81")
def test_coco_of_windows_with_its_first_picture_missing(tmp_path: Path) -> None:
    save_picture(tmp_path / "images" / "in" / "b.png", 1)
    images = [{"id": 2, "file_name": "lost.png"}, {"id": 1, "file_name": "in\\b.png"}]
    file = _coco(tmp_path, images=images, boxes=[BOX], cats=[CAT], mark="\ufeff")

    assert detect(tmp_path).type == detect(file).type == "coco"
    assert Coco(file)[1]["target"]["boxes"].tolist() == [[1, 1, 5, 5]]


@pytest.mark.seed("S3-81")
@pytest.mark.parametrize(
    ("boxes", "cats", "what"),
    [
        ([BOX], [{"name": "cat"}], "no number as its id"),
        ([BOX], [{"id": "cat", "name": "cat"}], "no number as its id"),
        ([{**BOX, "image_id": "1"}], [CAT], "no annotation belongs to a picture"),
    ],
)
def test_ids_that_fit_nothing_are_told(
    tmp_path: Path, boxes: list[Any], cats: list[Any], what: str
) -> None:
    save_picture(tmp_path / "a.png", 1)

    with pytest.raises(UserError, match=what):
        Coco(_coco(tmp_path, images=[{"id": 1, "file_name": "a.png"}], boxes=boxes, cats=cats))


@pytest.mark.seed("S3-81")
def test_a_list_as_category_spoils_its_picture_only(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png", 1)
    save_picture(tmp_path / "b.png", 2)
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    boxes = [BOX, {**BOX, "image_id": 2, "category_id": [1]}]

    data = Coco(_coco(tmp_path, images=images, boxes=boxes, cats=[CAT]))

    assert len(data[0]["target"]["boxes"]) == 1
    with pytest.raises(UserError, match="unknown category"):
        data[1]


def _yolo(root: Path) -> None:
    save_picture(root / "images" / "1.png", 1)
    (root / "labels").mkdir()
    (root / "labels" / "1.txt").write_text("1 0.5 0.5 0.2 0.2\n")


@pytest.mark.seed("S3-81")
def test_yolo_names_with_a_mark_or_in_another_encoding(tmp_path: Path) -> None:
    _yolo(tmp_path)
    names = tmp_path / "classes.txt"
    names.write_bytes("\ufeffcat\r\n狗\r\n".encode())
    assert list(Yolo(tmp_path).classes) == ["cat", "狗"]

    names.write_bytes("猫狗图片\n不好\n".encode("gb18030"))
    with pytest.raises(UserError, match=r"classes.txt:1: .* is not UTF-8"):
        Yolo(tmp_path)


@pytest.mark.seed("S3-81")
def test_a_yolo_list_of_another_machine_is_told_at_once(tmp_path: Path) -> None:
    _yolo(tmp_path)
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [cat, dog]\n")
    (tmp_path / "train.txt").write_text("/content/set/images/1.png\n")

    with pytest.raises(UserError, match="none of the first pictures is there"):
        Yolo(tmp_path, split="train")


@pytest.mark.seed("S3-81")
def test_endings_of_xml_in_capitals(tmp_path: Path) -> None:
    xml = (
        "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax>"
        "<ymax>5</ymax></bndbox></object></annotation>"
    )
    for name in ("a.xml", "b.XML"):
        save_picture(tmp_path / "images" / f"{name[0]}.png", 1)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / name).write_text(xml)

    assert (len(Voc(tmp_path)), Voc(tmp_path).left_out) == (2, ())


@pytest.mark.seed("S3-81")
def test_masks_in_colours_are_told_with_their_reason(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (8, 8), (9, 8, 7)).save(tmp_path / folder / "a.png")

    with pytest.raises(UserError, match=r"no mask can be read; .*mode RGB"):
        MaskPairs(tmp_path)


@pytest.mark.seed("S3-81")
def test_pictures_and_masks_with_a_suffix_each(tmp_path: Path) -> None:
    for split in ("train", "val"):
        save_picture(tmp_path / "leftImg8bit" / split / "ulm" / "ulm_1_leftImg8bit.png", 1)
        folder = tmp_path / "gtFine" / split / "ulm"
        folder.mkdir(parents=True)
        for kind in ("labelIds", "instanceIds"):
            number = 7 if kind == "labelIds" else 99
            Image.new("L", (16, 12), number).save(folder / f"ulm_1_gtFine_{kind}.png")

    data = MaskPairs(
        tmp_path,
        images="leftImg8bit/{stem}_leftImg8bit",
        masks="gtFine/{stem}_gtFine_labelIds",
        values={7: "road"},
        split="train",
    )

    assert (len(data), data[0]["target"]["mask"].max()) == (1, 0)
    assert data.file(0).endswith("leftImg8bit/train/ulm/ulm_1_leftImg8bit.png")


@pytest.mark.seed("S3-81")
def test_a_list_of_flags_is_no_list_of_names(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", 1)
    (tmp_path / "attributes.txt").write_text("1\nGlasses Hat Male\n1.png -1 1 -1\n")

    with pytest.raises(UserError, match=r"attributes.txt:3: .*not names"):
        FileList(tmp_path / "attributes.txt", task="multilabel")
