"""Detection on layouts of well-known sets: nothing but class folders is taken for class folders."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets import ArrayFile, AudioFolder, ImageFolder, TextFolder
from cvtrainer.data.detection import detect
from tests.data.conftest import save_picture
from tests.data.sounds import wav_bytes


def _pictures(root: Path, *names: str) -> None:
    for name in names:
        save_picture(root / name, 1)


@pytest.mark.seed("S3-81")
@pytest.mark.parametrize(
    "files",
    [
        ("Final_Training/Images/00000/1.ppm", "Final_Test/Images/1.ppm"),
        ("train_images/1.jpg", "test_images/1.jpg"),
        ("trainA/1.jpg", "trainB/1.jpg", "testA/1.jpg", "testB/1.jpg"),
        ("seg_train/sea/1.jpg", "seg_test/sea/1.jpg", "seg_pred/1.jpg"),
        ("stage1_train/a/images/a.png", "stage1_train/a/masks/1.png", "stage1_test/b/images/b.png"),
        ("leftImg8bit/train/aachen/1.png", "gtFine/train/aachen/1.png"),
        ("701_StillsRaw_full/a.png", "LabeledApproved_full/a_L.png"),
        ("C/images/1.png", "C/images/2.png", "C/masks/1.png", "N/images/1.png", "N/images/2.png",
         "N/masks/1.png"),
        ("VOC2007/JPEGImages/1.jpg", "VOC2007/SegmentationClass/1.png", "VOC2012/JPEGImages/1.jpg",
         "VOC2012/SegmentationClass/1.png"),
    ],
)  # fmt: skip
def test_folders_of_parts_are_no_classes(tmp_path: Path, files: tuple[str, ...]) -> None:
    _pictures(tmp_path, *files)

    with pytest.raises(UserError, match="not recognised"):
        detect(tmp_path)


@pytest.mark.seed("S3-81")
@pytest.mark.parametrize(
    "classes",
    [("bus", "car", "plane", "train"), ("w", "x", "y", "z"), ("with_mask", "without_mask")],
)
def test_class_names_that_are_also_words_of_layouts(
    tmp_path: Path, classes: tuple[str, ...]
) -> None:
    _pictures(tmp_path, *(f"{name}/{name}.png" for name in classes))

    assert detect(tmp_path).type == "image_folder"
    assert tuple(ImageFolder(tmp_path).classes) == classes


@pytest.mark.seed("S3-81")
def test_what_lies_one_folder_deeper_is_advised(tmp_path: Path) -> None:
    _pictures(tmp_path, "images/pie/1.jpg", "images/waffles/1.jpg")
    (tmp_path / "meta").mkdir()

    with pytest.raises(UserError, match=r"as `data_path`: images \(image_folder\)"):
        detect(tmp_path)


@pytest.mark.seed("S3-81")
def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    _pictures(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "bird").mkdir()

    assert detect(tmp_path).type == "image_folder"
    with pytest.raises(UserError, match="class folder bird holds no image"):
        ImageFolder(tmp_path)


@pytest.mark.seed("S3-81")
def test_what_systems_leave_behind_is_no_data(tmp_path: Path) -> None:
    _pictures(tmp_path, "data/cat/1.jpg", "data/dog/1.jpg", "data/cat/__MACOSX/2.jpg")
    _pictures(tmp_path, "data/__MACOSX/3.jpg", "data/@eaDir/4.jpg", "__MACOSX/5.jpg")
    for name in ("Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"x")

    found = detect(tmp_path)
    data = ImageFolder(found.data_path)

    assert found.data_path == str(tmp_path / "data")
    assert (list(data.classes), len(data)) == (["cat", "dog"], 2)


@pytest.mark.seed("S3-81")
def test_noise_and_texts_without_a_label_are_no_classes(tmp_path: Path) -> None:
    for name in ("yes", "no", "_background_noise_"):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        (tmp_path / "sounds" / name / "1.wav").write_bytes(
            wav_bytes(np.zeros(8, dtype=np.int16), rate=8000)
        )
    for name in ("pos", "neg", "unsup"):
        (tmp_path / "texts" / name).mkdir(parents=True)
        (tmp_path / "texts" / name / "1.txt").write_text("good")

    sounds, texts = AudioFolder(tmp_path / "sounds"), TextFolder(tmp_path / "texts")

    assert tuple(sounds.classes) == ("no", "yes")
    assert tuple(texts.classes) == ("neg", "pos")
    assert "_background_noise_" in detect(tmp_path / "sounds").evidence[0]
    assert "unsup" in detect(tmp_path / "texts").evidence[0]


@pytest.mark.seed("S3-81")
def test_pickled_batches_are_seen_and_want_trust(tmp_path: Path) -> None:
    batch = {b"data": np.zeros((2, 3072), dtype=np.uint8), b"labels": [1, 0]}
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch))
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch))
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat", b"dog"]}))

    assert detect(tmp_path).type == "array_file"
    with pytest.raises(UserError, match="trust_pickle"):
        ArrayFile(tmp_path, split="train")
    data = ArrayFile(tmp_path, split="train", trust_pickle=True)
    assert (list(data.classes), data[0]["x"].shape) == (["cat", "dog"], (32, 32, 3))
