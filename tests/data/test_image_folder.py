"""The image folder: classes from folder names, one-line errors for every way it can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.data import ImageFolder
from cvtrainer.data.datasets.image_folder import PathTable


@pytest.mark.seed("S0-29")
def test_classes_are_the_sorted_folder_names(folder: Path) -> None:
    data = ImageFolder(folder)
    assert data.classes == {"cat": 0, "dog": 1}
    assert data.class_names == ("cat", "dog")
    assert len(data) == 13
    sample = data[7]
    assert sample["target"] == {"class_id": 1}
    assert sample["meta"] == {"index": 7, "path": str(folder / "dog" / "0.png")}
    assert sample["x"].shape == (12, 16, 3)
    assert sample["x"].dtype == np.uint8
    expected = np.random.default_rng(100).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(sample["x"], expected)


def test_upper_case_endings_and_inner_folders_count(folder: Path) -> None:
    (folder / "cat" / "0.png").rename(folder / "cat" / "0.PNG")
    (folder / "dog" / "more").mkdir()
    (folder / "dog" / "0.png").rename(folder / "dog" / "more" / "0.png")
    (folder / "dog" / "notes.txt").write_text("not a picture")
    (folder / ".hidden").mkdir()
    data = ImageFolder(folder)
    assert len(data) == 13
    paths = {data[k]["meta"]["path"] for k in range(13)}
    assert str(folder / "dog" / "more" / "0.png") in paths
    assert str(folder / "cat" / "0.PNG") in paths


def test_extensions_can_be_chosen(folder: Path) -> None:
    Image.new("RGB", (4, 4)).save(folder / "cat" / "a.bmp")
    Image.new("RGB", (4, 4)).save(folder / "dog" / "a.bmp")
    assert len(ImageFolder(folder, extensions=["bmp"])) == 2


def test_given_classes_bind_the_numbers(folder: Path) -> None:
    data = ImageFolder(folder, classes=["ant", "dog", "cat"])
    assert data.classes == {"ant": 0, "dog": 1, "cat": 2}
    assert data[0]["target"]["class_id"] == 2
    with pytest.raises(UserError, match="class folder dog is not among the 2 known classes"):
        ImageFolder(folder, classes=["ant", "cat"])


def _one_line(error: UserError) -> str:
    text = str(error)
    assert "\n" not in text
    return text


def test_what_is_wrong_with_the_folder_is_said_in_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such data folder") as missing:
        ImageFolder(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in _one_line(missing.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no class folders"):
        ImageFolder(tmp_path / "empty")
    with pytest.raises(UserError, match="not a folder"):
        ImageFolder(folder / "cat" / "0.png")
    (tmp_path / "single" / "cat").mkdir(parents=True)
    with pytest.raises(UserError, match=r"only one class folder \(cat\)"):
        ImageFolder(tmp_path / "single")
    (folder / "eel").mkdir()
    with pytest.raises(UserError, match="class folder eel holds no image"):
        ImageFolder(folder)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_an_unreadable_picture_is_named(folder: Path, content: bytes) -> None:
    bad = folder / "cat" / "3.png"
    bad.write_bytes(content)
    data = ImageFolder(folder)
    with pytest.raises(UserError) as error:
        data[3]
    assert str(bad) in _one_line(error.value)


def test_a_truncated_picture_is_named(folder: Path) -> None:
    bad = folder / "cat" / "3.png"
    bad.write_bytes(bad.read_bytes()[:300])
    with pytest.raises(UserError, match=r"3\.png: the image cannot be decoded"):
        ImageFolder(folder)[3]


def test_a_table_of_paths_gives_each_back() -> None:
    names = ["a/b.png", "", "größe/π.jpg", "x"]
    table = PathTable(names)
    assert [table[k] for k in range(len(table))] == names
