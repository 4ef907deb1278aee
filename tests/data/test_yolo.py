"""YOLO: data.yaml in its forms, boxes, polygons, keypoints, and lines that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.yolo import Yolo
from cvtrainer.data.sample import BadSample
from tests.data.conftest import save_picture


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """Pictures a, b, c in train and d in val; c has no label file. All are 20 wide, 10 high."""
    root = tmp_path / "set"
    for seed, (split, name) in enumerate(("train", n) for n in "abc"):
        save_picture(root / "images" / split / f"{name}.png", seed, (10, 20))
    save_picture(root / "images" / "val" / "d.png", 9, (10, 20))
    labels = {
        "train/a": "1 0.5 0.5 0.2 0.4\n\n0 0.25 0.5 0.5 1\n",
        "train/b": "0 0.1 0.2 0 0.4\n",
        "val/d": "1 0.5 0.5 1 1",
    }
    for name, text in labels.items():
        file = root / "labels" / f"{name}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [cat, dog]\n")
    return root


def _names(data: Yolo) -> str:
    return "".join(Path(data.file(row)).stem for row in range(len(data)))


@pytest.mark.seed("S3-82", "S3-83")
def test_boxes_in_pixels(yolo: Path) -> None:
    data = Yolo(yolo)
    assert data.classes == {"cat": 0, "dog": 1}
    assert _names(data) == "abcd"
    target = data[0]["target"]
    np.testing.assert_allclose(target["boxes"], [[8, 3, 12, 7], [0, 0, 10, 10]], atol=1e-5)
    assert target["box_labels"].tolist() == [1, 0]
    assert data[1]["target"]["boxes"].shape == (0, 4)
    assert data.raw_boxes(1)[0].shape == (1, 4)
    assert data[2]["target"]["boxes"].shape == (0, 4)
    assert "1 boxes without an area are left out" in data.notes
    assert "1 pictures have no label file: background" in data.notes


def test_splits(yolo: Path) -> None:
    assert _names(Yolo(yolo, split="train")) == "abc"
    assert _names(Yolo(yolo / "data.yaml", split="valid")) == "d"
    with pytest.raises(UserError, match="no split 'test'"):
        Yolo(yolo, split="test")


def test_a_relative_path(yolo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(yolo.parent)
    for path in ("set", "set/data.yaml"):
        assert len(Yolo(path)[0]["target"]["boxes"]) == 2


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("path: set\ntrain: images/train\nnames: {0: cat, 1: dog}", "abc"),
        ("train: [images/val, images/train]\nnames: [cat, dog]", "dabc"),
        ("train: ../images/train\nnames: [cat, dog]", "abc"),
        ("train: list.txt\nnames: [cat, dog]", "da"),
        ("train: images/train\nnc: 2", "abc"),
    ],
)
def test_forms_of_data_yaml(yolo: Path, text: str, names: str) -> None:
    (yolo / "data.yaml").write_text(text)
    (yolo / "list.txt").write_text("./images/val/d.png\nimages/train/a.png\n")
    data = Yolo(yolo)
    assert _names(data) == names
    assert len(data.classes) == 2
    assert len(data[names.index("a")]["target"]["boxes"]) == 2


def test_without_a_data_yaml(yolo: Path) -> None:
    (yolo / "data.yaml").unlink()
    with pytest.raises(UserError, match="the names of the classes are not given"):
        Yolo(yolo)
    assert _names(Yolo(yolo, classes=["cat", "dog"])) == "abcd"
    (yolo / "classes.txt").write_text("cat\ndog\n")
    assert _names(Yolo(yolo, split="val")) == "d"


def test_classes_bind_the_numbers(yolo: Path) -> None:
    data = Yolo(yolo, classes=["dog", "eel", "cat"])
    assert data[0]["target"]["box_labels"].tolist() == [0, 2]
    with pytest.raises(UserError, match="class cat is not among"):
        Yolo(yolo, classes=["dog"])


def test_polygons(yolo: Path) -> None:
    label = yolo / "labels" / "train" / "a.txt"
    label.write_text("1 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n0 0.5 0.5 0.2 0.2\n")
    data = Yolo(yolo, task="instances")
    target = data[0]["target"]
    np.testing.assert_allclose(target["boxes"], [[2, 2, 10, 6]], atol=1e-5)
    assert target["masks"].shape == (1, 10, 20)
    assert target["masks"][0, 2:6, 2:10].all()
    assert target["masks"].sum() == 32
    assert len(Yolo(yolo)[0]["target"]["boxes"]) == 2
    mask = Yolo(yolo, task="segmentation")[0]["target"]["mask"]
    assert (mask == 2).sum() == 32
    assert mask.sum() == 64
    label.write_text("")
    with pytest.raises(UserError, match="task instances needs masks"):
        Yolo(yolo, task="instances")


@pytest.mark.parametrize(("parts", "seen"), [(2, [2, 0]), (3, [1, 0])])
def test_keypoints(yolo: Path, parts: int, seen: list[int]) -> None:
    (yolo / "data.yaml").write_text(f"train: images/train\nnc: 2\nkpt_shape: [2, {parts}]\n")
    visible = (" 1", " 0") if parts == 3 else ("", "")
    (yolo / "labels" / "train" / "a.txt").write_text(
        f"1 0.5 0.5 0.2 0.4 0.25 0.5{visible[0]} 0 0{visible[1]}\n"
    )
    (yolo / "labels" / "train" / "b.txt").unlink()
    target = Yolo(yolo, task="keypoints")[0]["target"]
    np.testing.assert_allclose(target["keypoints"], [[5, 5, seen[0]], [0, 0, seen[1]]], atol=1e-5)
    assert target["boxes"].shape == (1, 4)
    (yolo / "labels" / "train" / "a.txt").write_text("1 0.5 0.5 0.2 0.4\n")
    with pytest.raises(BadSample, match="line 1: 5 numbers, but kpt_shape needs"):
        Yolo(yolo, task="keypoints")[0]


def test_multilabel(yolo: Path) -> None:
    assert Yolo(yolo, task="multilabel")[0]["target"]["class_ids"].tolist() == [0, 1]
    single = Yolo(yolo, task="classification", split="val")
    assert single[0]["target"] == {"class_id": 1}


@pytest.mark.parametrize(
    ("line", "kind", "what"),
    [
        ("0 0.5 0.5 0.2", "annotation", "4 numbers are neither a box nor a polygon"),
        ("0 0.5 0.5 0.2 wide", "annotation", "could not convert"),
        ("0 0.5 0.5 1.5 0.2", "annotation", r"1\.5 is not within"),
        ("0 nan 0.5 0.5 0.2", "annotation", "nan is not within"),
        ("2 0.5 0.5 0.5 0.2", "label", "class 2 is none of the 2 classes"),
        ("-1 0.5 0.5 0.5 0.2", "label", "class -1 is none"),
        ("0.5 0.5 0.5 0.5 0.2", "label", r"class 0\.5 is none"),
    ],
)
def test_a_bad_line_spoils_its_picture_only(yolo: Path, line: str, kind: str, what: str) -> None:
    file = yolo / "labels" / "train" / "a.txt"
    file.write_text(f"1 0.5 0.5 0.2 0.4\n{line}\n")
    data = Yolo(yolo)
    with pytest.raises(BadSample, match=f"line 2: .*{what}") as error:
        data[0]
    assert error.value.kind == kind
    assert error.value.where == str(file)
    assert data[3]["target"]["box_labels"].tolist() == [1]


def test_rounding_beyond_the_border_is_cut(yolo: Path) -> None:
    (yolo / "labels" / "train" / "a.txt").write_text("1 0.9 0.5 0.21 1.001\n")
    np.testing.assert_allclose(Yolo(yolo)[0]["target"]["boxes"], [[15.9, 0, 20, 10]], atol=1e-4)


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_an_unreadable_picture_is_a_bad_sample(yolo: Path, content: bytes) -> None:
    (yolo / "images" / "train" / "a.png").write_bytes(content)
    with pytest.raises(BadSample):
        Yolo(yolo)[0]


def test_a_missing_picture_is_a_bad_sample(yolo: Path) -> None:
    (yolo / "list.txt").write_text("images/train/a.png\nimages/train/gone.png\n")
    (yolo / "data.yaml").write_text("train: list.txt\nnc: 2")
    (yolo / "labels" / "train" / "gone.txt").write_text("1 0.5 0.5 0.5 0.5")
    with pytest.raises((OSError, BadSample)):
        Yolo(yolo)[1]


def test_what_is_wrong_with_the_set_is_said(yolo: Path) -> None:
    for text, what in (
        ("names: [a\n", "not readable as YAML"),
        ("train: nowhere\nnames: [cat, dog]", "no such folder or list: nowhere"),
        ("train: images/train\nnames: {1: cat, 2: dog}", "names are numbered 1 to 2 with gaps"),
        ("train: images/train\nnc: 2\nkpt_shape: [3]", "kpt_shape is"),
    ):
        (yolo / "data.yaml").write_text(text)
        with pytest.raises(UserError, match=what):
            Yolo(yolo / "data.yaml")
    with pytest.raises(UserError, match=r"no such data folder or data\.yaml"):
        Yolo(yolo / "nowhere")
