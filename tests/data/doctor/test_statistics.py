"""Figures of data sets are those of what was written into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cvtrainer.data.statistics import Spread, statistics_of
from cvtrainer.data.survey import Subject
from tests.data.doctor.worlds import MEMORY_WORLDS, WORLDS, Memory


def figures(name: str, root: Path) -> dict[str, Any]:
    WORLDS[name].write(root)
    return statistics_of(WORLDS[name].open(root)[0], threads=2)


def test_pictures_in_folders(tmp_path: Path) -> None:
    """Samples, classes with names of any script, sizes, formats and bytes."""
    found = figures("image folder", tmp_path)
    assert (found["samples"], found["images"], found["unusable"]) == (36, 36, 0)
    classes = [(one["name"], one["samples"]) for one in found["classes"]]
    assert classes == [("cat", 12), ("dog", 12), ("猫", 12)]
    pictures = found["pictures"]
    assert pictures["distinct sizes"] == 1
    assert pictures["most common"] == [{"width": 128, "height": 96, "images": 36}]
    assert pictures["formats"] == {"JPEG": 36}
    files = list((tmp_path / "train").rglob("*.jpg"))
    assert found["bytes"] == sum(path.stat().st_size for path in files)


def test_boxes(tmp_path: Path) -> None:
    """Boxes in all, for each class and each picture, and their areas; bad ones count too."""
    found = figures("coco boxes", tmp_path)
    assert found["boxes"] == 72
    assert [one["boxes"] for one in found["classes"]] == [48, 24]
    objects = found["objects"]
    assert objects["boxes per image"]["median"] == 3
    assert objects["box area"]["mean"] == 750
    assert objects["small, medium, large"] == [72, 0, 0]
    WORLDS["coco boxes"].plants(tmp_path)
    after = statistics_of(WORLDS["coco boxes"].open(tmp_path)[0])
    assert after["boxes"] == 72 + 80 + 1 - 3 - 3 - 3  # less 013's and those of two faulty pictures


def test_masks_and_keypoints_are_counted_without_reading_masks(tmp_path: Path) -> None:
    """One mask a picture, or one an object; keypoints by their visibility."""
    assert figures("mask pairs", tmp_path / "a")["masks"] == 20
    for path in (tmp_path / "a" / "masks").glob("*.png"):
        path.write_bytes(path.read_bytes()[:40])
    assert figures("instance masks", tmp_path / "b")["masks"] == 30
    found = figures("coco keypoints", tmp_path / "c")
    assert (found["keypoints"], found["visible keypoints"]) == (36, 36)


def test_sounds_texts_series_and_values(tmp_path: Path) -> None:
    """Lengths, rates, words, missing values and the spread of targets."""
    sounds = figures("sounds", tmp_path / "a")
    assert sounds["sample rates"] == {"8000": 24}
    assert sounds["lengths"]["min"] == 1500
    assert sounds["seconds"]["max"] == pytest.approx(1599 / 8000)
    texts = figures("texts", tmp_path / "b")
    assert texts["words"]["min"] == texts["words"]["max"] == 10
    table = figures("table", tmp_path / "c")
    assert table["values"][0]["count"] == 80
    subjects, _ = MEMORY_WORLDS["series"](planted=True)
    assert statistics_of(subjects[0])["missing values"] == 1


def test_arrays_have_sizes_and_kinds() -> None:
    """Pictures that are no files."""
    pictures = [np.zeros((10, 12, 3), np.uint8), np.zeros((20, 12), np.uint8)]
    columns = {"class_id": np.array([0, 1])}
    found = statistics_of(Subject("x", Memory(pictures, "classification", columns, ("a", "b"))))
    assert found["pictures"]["modes"] == {"3 x uint8": 1, "1 x uint8": 1}
    assert found["pictures"]["height"] == {"min": 10, "median": 15, "max": 20}


def test_spread() -> None:
    """Infinite and missing numbers are left out; nothing gives nothing."""
    spread = Spread(double=True)
    assert spread.figures() is None
    spread.extend([1, 2, 3, 4, float("nan"), float("inf")])
    found = spread.figures()
    assert found is not None
    assert (found["count"], found["median"], found["mean"]) == (4, 2.5, 2.5)
    assert spread.between(2, 4) == [1, 2, 1]
