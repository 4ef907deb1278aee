"""The image folder: classes from folder names, one-line errors for every way it can be wrong."""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.data import ImageFolder
from cvtrainer.data.datasets import image_folder
from cvtrainer.data.datasets.reading import kept_index
from cvtrainer.data.encoded import Encoded
from tests.data.conftest import save_picture


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
    with pytest.raises(UserError, match=r"3\.png: the image is cut off"):
        ImageFolder(folder)[3]


@pytest.mark.seed("S3-82")
def test_records_leave_the_pictures_in_their_files(folder: Path) -> None:
    data = ImageFolder(folder)
    record = data.record(12)
    assert record["x"] == Encoded(str(folder / "dog" / "5.png"))
    assert data.labels.tolist() == [0] * 7 + [1] * 6
    assert data.labels.dtype == np.int64
    assert data.thread_safe
    again = pickle.loads(pickle.dumps(data))
    assert again.record(12) == record


def test_a_split_is_a_folder_below(folder: Path) -> None:
    assert len(ImageFolder(folder.parent, split="train")) == 13
    with pytest.raises(UserError, match=r"no folder for split 'val'\. There is train\.$"):
        ImageFolder(folder.parent, split="val")


def test_generation_needs_no_class_folders(folder: Path) -> None:
    data = ImageFolder(folder / "cat", task="generation")
    assert len(data) == 7
    assert data[0]["target"] == {}
    assert len(ImageFolder(folder, task="generation")) == 13
    with pytest.raises(UserError, match="the folder holds no image"):
        ImageFolder(folder / "cat", task="generation", extensions=["bmp"])
    with pytest.raises(UserError, match="task regression needs value"):
        ImageFolder(folder, task="regression")


def test_hidden_folders_and_circles_of_links_are_left_out(folder: Path) -> None:
    (folder / "cat" / ".thumbs").mkdir()
    (folder / "cat" / ".thumbs" / "t.png").write_bytes(b"")
    (folder / "cat" / "round").symlink_to(folder, target_is_directory=True)
    (folder / "dog" / "other").symlink_to(folder / "cat", target_is_directory=True)
    data = ImageFolder(folder)
    assert len(data) == 7 + 6 + 7
    assert data.file(13) == str(folder / "dog" / "other" / "0.png")


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_names_in_another_encoding_are_found(folder: Path) -> None:
    name = os.fsdecode("狗.png".encode("gbk"))
    (folder / "dog" / "0.png").rename(folder / "dog" / name)
    data = ImageFolder(folder)
    paths = [data.file(k) for k in range(13)]
    assert str(folder / "dog" / name) in paths
    assert data[paths.index(str(folder / "dog" / name))]["x"].shape == (12, 16, 3)


@pytest.fixture
def small_sets_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_index, "KEEP_FROM", 5)
    monkeypatch.setattr(kept_index, "_YOUNG_NS", 0)


@pytest.mark.usefixtures("small_sets_are_kept")
def test_the_walk_of_a_large_set_is_kept_and_never_stale(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "kept"
    first = ImageFolder(folder, index_dir=kept)
    assert len(list(kept.glob("*.arrow"))) == 1
    walks: list[str] = []
    add = image_folder.FileWalk.add

    def counted(self: image_folder.FileWalk, name: str) -> int:
        walks.append(name)
        return add(self, name)

    monkeypatch.setattr(image_folder.FileWalk, "add", counted)
    second = ImageFolder(folder, index_dir=kept)
    assert walks == []
    assert second.classes == first.classes
    assert [second.record(k) for k in range(13)] == [first.record(k) for k in range(13)]
    assert pickle.loads(pickle.dumps(second)).record(3) == first.record(3)
    assert ImageFolder(folder, index_dir=kept, classes=["dog", "cat"]).classes["dog"] == 0
    assert walks == ["cat", "dog"]

    def changed(count: int) -> None:
        walks.clear()
        assert len(ImageFolder(folder, index_dir=kept)) == count
        assert walks

    times = (folder / "cat").stat()
    save_picture(folder / "cat" / "new.png", 50)
    os.utime(folder / "cat", ns=(times.st_atime_ns, times.st_mtime_ns))
    changed(14)
    (folder / "dog" / "0.png").unlink()
    changed(13)
    save_picture(folder / "dog" / "inner" / "1.png", 51)
    changed(14)
    save_picture(folder / "dog" / "inner" / "2.png", 52)
    changed(15)
    save_picture(folder / "eel" / "1.png", 53)
    changed(16)


def test_what_may_still_be_changing_is_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_index, "KEEP_FROM", 5)
    ImageFolder(folder, index_dir=tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


@pytest.mark.usefixtures("small_sets_are_kept")
def test_a_damaged_or_unwritable_store_does_no_harm(folder: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    ImageFolder(folder, index_dir=kept)
    (file,) = kept.glob("*.arrow")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert len(ImageFolder(folder, index_dir=kept)) == 13
    (tmp_path / "a file").write_text("")
    assert len(ImageFolder(folder, index_dir=tmp_path / "a file")) == 13


@pytest.mark.seed("S0-29", "S3-82")
def test_sign_language_digits(data_sets: Path) -> None:
    data = ImageFolder(data_sets / "sign-language-digits" / "Dataset")
    assert len(data) == 2062
    assert data.class_names == tuple("0123456789")
    counts = np.bincount(data.labels)
    assert counts.min() == 204
    assert counts.max() == 208
    for name, number in data.classes.items():
        files = list((data_sets / "sign-language-digits" / "Dataset" / name).iterdir())
        assert counts[number] == len(files)
