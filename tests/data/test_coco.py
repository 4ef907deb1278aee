"""COCO JSON: every kind of annotation, the layouts in use, and what spoils one picture only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.coco import Coco
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.sample import BadSample
from tests.data.conftest import save_picture

CATEGORIES = [
    {"id": 7, "name": "dog", "keypoints": ["nose", "tail"]},
    {"id": 2, "name": "cat"},
]


def _rectangle(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def _annotations() -> list[dict[str, Any]]:
    return [
        {
            "id": 1,
            "image_id": 10,
            "category_id": 7,
            "bbox": [2, 3, 4, 5],
            "segmentation": [_rectangle(2, 3, 6, 8)],
            "keypoints": [3, 4, 2, 0, 0, 0],
            "num_keypoints": 1,
        },
        {
            "id": 2,
            "image_id": 10,
            "category_id": 2,
            "bbox": [3, 4, 2, 2],
            "segmentation": [_rectangle(3, 4, 5, 6)],
        },
        {
            "id": 3,
            "image_id": 10,
            "category_id": 2,
            "iscrowd": 1,
            "bbox": [0, 0, 16, 1],
            "segmentation": {"size": [12, 16], "counts": [0, 1] + [11, 1] * 15 + [11]},
        },
        {
            "id": 4,
            "image_id": 20,
            "category_id": 2,
            "bbox": [5, 5, 0, 3],
            "segmentation": [_rectangle(5, 5, 5, 8)],
        },
        {
            "id": 5,
            "image_id": 20,
            "category_id": 2,
            "bbox": [0, 1, 1, 2],
            "segmentation": {"size": [12, 16], "counts": "12m5"},
        },
    ]


def _write(folder: Path, annotations: list[dict[str, Any]] | None = None, **more: Any) -> Path:
    pictures = [
        {"id": key, "file_name": f"{key}.png", "width": 16, "height": 12} for key in (10, 20, 30)
    ]
    for seed, picture in enumerate(pictures):
        save_picture(folder / "images" / str(picture["file_name"]), seed)
    content = {
        "images": pictures,
        "annotations": _annotations() if annotations is None else annotations,
        "categories": CATEGORIES,
        **more,
    }
    file = folder / "annotations.json"
    file.write_text(json.dumps(content))
    return file


@pytest.mark.seed("S3-82", "S3-83")
def test_detection_classes_by_id_and_empty_pictures_are_samples(tmp_path: Path) -> None:
    data = Coco(_write(tmp_path))
    assert data.classes == {"cat": 0, "dog": 1}
    assert len(data) == 3
    record = data.record(0)
    assert isinstance(record["x"], Encoded)
    sample = data[0]
    assert sample["x"].shape == (12, 16, 3)
    assert sample["target"]["boxes"].tolist() == [[2, 3, 6, 8], [3, 4, 5, 6]]
    assert sample["target"]["boxes"].dtype == np.float32
    assert sample["target"]["box_labels"].tolist() == [1, 0]
    assert sample["target"]["box_labels"].dtype == np.int64
    assert data[2]["target"]["boxes"].shape == (0, 4)
    assert len(Coco(tmp_path, empty=False)) == 2
    assert Coco(tmp_path, crowd=True)[0]["target"]["box_labels"].tolist() == [1, 0, 0]


def test_boxes_without_an_area_are_counted_and_stay_visible(tmp_path: Path) -> None:
    data = Coco(_write(tmp_path))
    assert data[1]["target"]["boxes"].tolist() == [[0, 1, 1, 3]]
    assert data.raw_boxes(1)[0].tolist() == [[5, 5, 5, 8], [0, 1, 1, 3]]
    assert data.notes == ("1 boxes without an area are left out",)


def test_instances_have_a_mask_each(tmp_path: Path) -> None:
    data = Coco(_write(tmp_path), task="instances")
    target = data[0]["target"]
    assert target["masks"].shape == (2, 12, 16)
    assert target["masks"].dtype == np.uint8
    for box, mask in zip(target["boxes"].astype(int), target["masks"], strict=True):
        x1, y1, x2, y2 = box
        assert mask.sum() == (x2 - x1) * (y2 - y1) == mask[y1:y2, x1:x2].sum()
    second = data[1]["target"]["masks"]
    assert np.argwhere(second[0]).tolist() == [[1, 0], [2, 0]]
    assert data[2]["target"]["masks"].shape == (0, 12, 16)
    with_crowd = Coco(tmp_path, task="instances", crowd=True)[0]["target"]["masks"]
    assert with_crowd[2, 0].all()
    assert not with_crowd[2, 1:].any()


def test_class_masks_have_small_objects_on_top(tmp_path: Path) -> None:
    data = Coco(_write(tmp_path), task="segmentation")
    assert data.classes == {"background": 0, "cat": 1, "dog": 2}
    mask = data[0]["target"]["mask"]
    assert mask.dtype == np.uint8
    assert (mask[4:6, 3:5] == 1).all()
    assert (mask == 1).sum() == 4
    assert (mask == 2).sum() == 20 - 4
    again = Coco(tmp_path, task="segmentation", classes=data.class_names)
    assert again.classes == data.classes
    np.testing.assert_array_equal(again[0]["target"]["mask"], mask)


def test_keypoints_come_with_their_boxes(tmp_path: Path) -> None:
    target = Coco(_write(tmp_path), task="keypoints")[0]["target"]
    assert target["keypoints"].tolist() == [[3, 4, 2], [0, 0, 0]]
    assert target["boxes"].tolist() == [[2, 3, 6, 8]]
    assert Coco(tmp_path, task="keypoints")[2]["target"]["keypoints"].shape == (0, 3)


def test_multilabel_and_classification(tmp_path: Path) -> None:
    assert Coco(_write(tmp_path), task="multilabel")[0]["target"]["class_ids"].tolist() == [0, 1]
    with pytest.raises(UserError, match="task classification needs class_id"):
        Coco(tmp_path, task="classification")
    single = [a for a in _annotations() if a["id"] in (1, 5)]
    single.append({"id": 9, "image_id": 30, "category_id": 7, "bbox": [1, 1, 2, 2]})
    data = Coco(_write(tmp_path, single), task="classification")
    assert data.labels is not None
    assert data.labels.tolist() == [1, 0, 1]
    assert data[0]["target"] == {"class_id": 1}


def test_classes_bind_the_numbers(tmp_path: Path) -> None:
    data = Coco(_write(tmp_path), classes=["dog", "eel", "cat"])
    assert data[0]["target"]["box_labels"].tolist() == [0, 2]
    with pytest.raises(UserError, match="class cat is not among the 1 known classes"):
        Coco(tmp_path, classes=["dog"])


@pytest.mark.parametrize(
    ("change", "kind", "what"),
    [
        ({"category_id": 99}, "label", "annotation 1 has the unknown category 99"),
        ({"bbox": [1, 2, 3]}, "annotation", "annotation 1 cannot be read"),
        ({"bbox": [1, 2, "wide", 3]}, "annotation", "annotation 1 cannot be read"),
        ({"segmentation": [[1, 2, 3, 4]]}, "annotation", "a polygon of 4 numbers"),
        ({"keypoints": [1, 2, 2, 4]}, "annotation", "annotation 1 cannot be read"),
    ],
)
def test_a_bad_annotation_spoils_its_picture_only(
    tmp_path: Path, change: dict[str, Any], kind: str, what: str
) -> None:
    annotations = _annotations()
    annotations[0].update(change)
    data = Coco(_write(tmp_path, annotations))
    with pytest.raises(BadSample, match=what) as error:
        data[0]
    assert error.value.kind == kind
    assert error.value.where == str(tmp_path / "annotations.json")
    assert len(data[1]["target"]["boxes"]) == 1
    assert "the annotations of 1 pictures cannot be used" in data.notes


def test_run_lengths_of_another_size_spoil_their_picture_only(tmp_path: Path) -> None:
    annotations = _annotations()
    annotations[4]["segmentation"] = {"size": [11, 16], "counts": [176]}
    data = Coco(_write(tmp_path, annotations), task="instances")
    with pytest.raises(BadSample, match="run lengths for 16x11, but the picture is 16x12"):
        data[1]
    assert len(data[0]["target"]["masks"]) == 2


def test_a_picture_of_another_size_is_bad(tmp_path: Path) -> None:
    data = Coco(_write(tmp_path))
    save_picture(tmp_path / "images" / "10.png", 0, (16, 12))
    with pytest.raises(BadSample, match="annotated as 16x12"):
        data[0]


def test_annotations_of_no_picture_are_counted(tmp_path: Path) -> None:
    lost = {"id": 9, "image_id": 99, "category_id": 7, "bbox": [1, 1, 2, 2]}
    data = Coco(_write(tmp_path, [*_annotations(), lost]))
    assert "1 annotations belong to no picture of the file" in data.notes


def test_the_usual_layout_is_found_by_split(tmp_path: Path) -> None:
    file = _write(tmp_path / "made")
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    for year in ("train2017", "val2017"):
        for kind in ("instances", "person_keypoints", "captions"):
            target = tmp_path / "coco" / "annotations" / f"{kind}_{year}.json"
            target.write_text(file.read_text())
        for key in (10, 20, 30):
            save_picture(tmp_path / "coco" / year / f"{key}.png", key)
    data = Coco(tmp_path / "coco", split="val")
    assert data.annotations.name == "instances_val2017.json"
    assert data[0]["meta"]["path"] == str(tmp_path / "coco" / "val2017" / "10.png")
    points = Coco(tmp_path / "coco", split="train2017", task="keypoints")
    assert points.annotations.name == "person_keypoints_train2017.json"
    with pytest.raises(UserError, match=r"2 COCO files: .*Give `split`"):
        Coco(tmp_path / "coco")
    with pytest.raises(UserError, match="no split 'test'"):
        Coco(tmp_path / "coco", split="test")


def test_annotations_among_the_pictures(tmp_path: Path) -> None:
    file = _write(tmp_path / "made")
    for split in ("train", "valid"):
        for key in (10, 20, 30):
            save_picture(tmp_path / "set" / split / f"{key}.png", key)
        (tmp_path / "set" / split / "_annotations.coco.json").write_text(file.read_text())
    data = Coco(tmp_path / "set", split="valid")
    assert data[1]["meta"]["path"] == str(tmp_path / "set" / "valid" / "20.png")


def test_what_is_no_coco_file_is_said(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    for content, what in (("{", "not readable as JSON"), ("[]", "it holds no object")):
        file.write_text(content)
        with pytest.raises(UserError, match=what):
            Coco(file)
    file.write_text('{"images": []}')
    with pytest.raises(UserError, match="no list 'annotations'"):
        Coco(file)
    with pytest.raises(UserError, match="no such data folder or annotation file"):
        Coco(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no COCO JSON"):
        Coco(tmp_path)
    _write(tmp_path, images=[{"id": 10, "file_name": "x.png"}])
    with pytest.raises(UserError, match=r"the picture x\.png is in none of"):
        Coco(tmp_path / "annotations.json")
    _write(tmp_path, images=[{"id": 1, "file_name": "10.png"}] * 2)
    with pytest.raises(UserError, match="picture 1 stands twice"):
        Coco(tmp_path / "annotations.json")


def test_a_kept_index_is_used_until_the_file_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cvtrainer.data.datasets.reading.kept_index.KEEP_FROM", 1)
    monkeypatch.setattr("cvtrainer.data.datasets.reading.kept_index._YOUNG_NS", -(10**18))
    file = _write(tmp_path)
    words: dict[str, Any] = {"task": "instances", "index_dir": tmp_path / "kept"}
    first = Coco(file, **words)
    assert first.index.path is not None
    kept = Coco(file, **words)
    assert kept.index.path == first.index.path
    assert kept.classes == first.classes
    assert kept.notes == first.notes
    for row in range(3):
        for name, value in first[row]["target"].items():
            np.testing.assert_array_equal(kept[row]["target"][name], value)
    _write(tmp_path, _annotations()[:1])
    assert len(Coco(file, **words)[0]["target"]["boxes"]) == 1
