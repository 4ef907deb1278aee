"""Pictures and masks in two folders: matching by name, meaning of the numbers, bad masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.mask_pairs import MaskPairs
from cvtrainer.data.sample import BadSample
from tests.data.conftest import save_picture


def _save_mask(path: Path, values: tuple[int, ...], size: tuple[int, int] = (12, 16)) -> None:
    """Columns take those values in turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = np.resize(np.array(values, dtype=np.uint8), size[1])
    Image.fromarray(np.repeat(columns[None], size[0], axis=0)).save(path)


def _pair(root: Path, name: str, values: tuple[int, ...], mask: str = "masks/{}.png") -> None:
    save_picture(root / "images" / f"{name}.jpg", len(name))
    _save_mask(root / mask.format(name), values)


def _columns(data: MaskPairs, row: int) -> list[int]:
    mask = data[row]["target"]["mask"]
    assert mask.dtype == np.uint8
    assert mask.shape == (12, 16)
    return [int(value) for value in np.unique(mask[0])]


@pytest.mark.seed("S3-82", "S3-83")
def test_numbers_are_learned_where_nobody_names_them(tmp_path: Path) -> None:
    _pair(tmp_path, "a", (0, 3))
    _pair(tmp_path, "b", (3, 7, 255))
    data = MaskPairs(tmp_path)
    assert data.classes == {"0": 0, "3": 1, "7": 2}
    assert _columns(data, 0) == [0, 1]
    assert _columns(data, 1) == [1, 2, 255]
    again = MaskPairs(tmp_path, classes=data.class_names)
    assert _columns(again, 1) == [1, 2, 255]


@pytest.mark.parametrize("top", [1, 255])
def test_two_numbers_are_background_and_foreground(tmp_path: Path, top: int) -> None:
    _pair(tmp_path, "a", (0, top))
    _pair(tmp_path, "b", (0,))
    data = MaskPairs(tmp_path)
    assert data.classes == {"background": 0, "foreground": 1}
    assert _columns(data, 0) == [0, 1]
    assert _columns(MaskPairs(tmp_path, classes=data.class_names), 0) == [0, 1]


def test_values_and_ignore_give_the_meaning(tmp_path: Path) -> None:
    _pair(tmp_path, "a", (1, 2, 3))
    data = MaskPairs(tmp_path, values={2: "background", "1": "pet"}, ignore=3)
    assert data.classes == {"pet": 0, "background": 1}
    assert data[0]["target"]["mask"][0, :3].tolist() == [0, 1, 255]
    other = MaskPairs(
        tmp_path, values={1: "pet", 2: "background"}, ignore=[3], classes=["background", "pet"]
    )
    assert other[0]["target"]["mask"][0, :3].tolist() == [1, 0, 255]
    merged = MaskPairs(tmp_path, values={1: "pet", 3: "pet", 2: "background"})
    assert merged[0]["target"]["mask"][0, :3].tolist() == [0, 1, 0]


def test_named_classes_are_the_numbers(tmp_path: Path) -> None:
    _pair(tmp_path, "a", (0, 1, 255))
    _pair(tmp_path, "b", (0, 2))
    data = MaskPairs(tmp_path, classes=["road", "car"])
    assert _columns(data, 0) == [0, 1, 255]
    with pytest.raises(BadSample, match="the mask has the number 2, which is no class") as error:
        data[1]
    assert error.value.kind == "label"
    assert error.value.where == str(tmp_path / "masks" / "b.png")


def test_palette_masks_keep_their_indices(tmp_path: Path) -> None:
    _pair(tmp_path, "a", (0, 1))
    picture = Image.fromarray(np.array([[0, 1]] * 6, dtype=np.uint8).repeat(8, 1).repeat(2, 0))
    picture.putpalette([(value * 7) % 256 for value in range(768)])
    picture.save(tmp_path / "masks" / "a.png")
    assert _columns(MaskPairs(tmp_path, classes=["road", "car"]), 0) == [0, 1]


@pytest.mark.parametrize(
    ("mask", "given"),
    [
        ("masks/{}.png", None),
        ("masks/{}_mask.png", None),
        ("annotations/trimaps/{}.png", None),
        ("gt/{}.bmp", None),
        ("truth/t-{}-x.png", "truth/t-{stem}-x.png"),
        ("images/{}_mask.png", "images/{stem}_mask"),
    ],
)
def test_masks_are_found(tmp_path: Path, mask: str, given: str | None) -> None:
    _pair(tmp_path, "a", (0, 1), mask)
    _pair(tmp_path, "bb", (0, 1), mask)
    data = MaskPairs(tmp_path, masks=given)
    assert len(data) == 2
    assert data.left_out == ()
    assert data[1]["meta"]["path"] == str(tmp_path / "images" / "bb.jpg")


def test_what_has_no_partner_is_counted(tmp_path: Path) -> None:
    _pair(tmp_path, "a", (0, 1))
    save_picture(tmp_path / "images" / "b.jpg", 1)
    _save_mask(tmp_path / "masks" / "c.png", (0,))
    data = MaskPairs(tmp_path)
    assert data.left_out == ("images/b.jpg", "masks/c.png")
    assert data.notes == ("2 pictures or masks have no partner and are left out",)


@pytest.mark.parametrize("layout", ["inside", "around", "list"])
def test_splits(tmp_path: Path, layout: str) -> None:
    for split, name in (("train", "a"), ("train", "b"), ("val", "c")):
        values = (0, 5) if name == "a" else (0, 9)
        if layout == "inside":
            save_picture(tmp_path / "images" / split / f"{name}.jpg", 1)
            _save_mask(tmp_path / "masks" / split / f"{name}.png", values)
        elif layout == "around":
            _pair(tmp_path / split, name, values)
        else:
            _pair(tmp_path, name, values)
            with (tmp_path / f"{split}.txt").open("a") as file:
                file.write(f"{name}\n")
    assert len(MaskPairs(tmp_path, split="train", classes=["a"])) == 2
    data = MaskPairs(tmp_path, split="val", values={0: "background", 9: "thing"})
    assert len(data) == 1
    assert _columns(data, 0) == [0, 1]
    with pytest.raises(UserError, match=r"no list test\.txt"):
        MaskPairs(tmp_path, split="test", classes=["a"])


def test_a_mask_of_another_size_is_a_bad_sample(tmp_path: Path) -> None:
    _pair(tmp_path, "a", (0, 1))
    _save_mask(tmp_path / "masks" / "a.png", (0, 1), (12, 15))
    with pytest.raises(BadSample, match="the mask is 15x12, but the picture 16x12"):
        MaskPairs(tmp_path)[0]


def test_an_unreadable_mask_is_a_bad_sample(tmp_path: Path) -> None:
    _pair(tmp_path, "a", (0, 1))
    _pair(tmp_path, "b", (0, 1))
    (tmp_path / "masks" / "a.png").write_bytes(b"nothing")
    data = MaskPairs(tmp_path)
    with pytest.raises(BadSample, match=r"a\.png"):
        data[0]
    (tmp_path / "masks" / "b.png").unlink()
    with pytest.raises(BadSample, match=r"b\.png"):
        data[1]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ({"masks": "nowhere"}, "no such folder of masks: nowhere"),
        ({"images": "nowhere"}, "no such folder of pictures: nowhere"),
        ({"masks": "masks/{stem}_x"}, "no mask has the name of a picture"),
        ({"values": {"one": "pet"}}, "a key that is no number"),
        ({"values": {300: "pet"}}, "but a mask holds 0 to 255"),
        ({"values": {0: "a", 1: "b"}, "classes": ["a"]}, "class b is not among the 1 known"),
        ({"task": "detection"}, "task detection needs boxes"),
    ],
)
def test_what_is_wrong_with_the_set_is_said(
    tmp_path: Path, words: dict[str, Any], what: str
) -> None:
    _pair(tmp_path, "a", (0, 1))
    with pytest.raises(UserError, match=what):
        MaskPairs(tmp_path, **words)


def test_pets(data_sets: Path) -> None:
    root = data_sets / "pets-trimap"
    words: dict[str, Any] = {"values": {1: "pet", 2: "background"}, "ignore": 3}
    data = MaskPairs(root, **words)
    assert len(data) == 211
    assert data.classes == {"pet": 0, "background": 1}
    assert data.left_out == ()
    only_background = []
    for row in range(len(data)):
        mask = data.field("mask", row)
        assert set(np.unique(mask).tolist()) <= {0, 1, 255}
        if (mask == 1).all():
            only_background.append(Path(data.file(row)).stem)
    assert only_background == ["Abyssinian_34"]
    sample = data[0]
    assert sample["target"]["mask"].shape == sample["x"].shape[:2]
    assert len(MaskPairs(root, split="trainval", **words)) == 150
    assert len(MaskPairs(root, split="test", **words)) == 60
