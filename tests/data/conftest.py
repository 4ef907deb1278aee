"""Small folders of pictures that the data tests share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def save_picture(path: Path, seed: int, size: tuple[int, int] = (12, 16)) -> Path:
    """A picture of noise, height x width, at that place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes, `cat` with 7 pictures and `dog` with 6."""
    for k in range(7):
        save_picture(tmp_path / "train" / "cat" / f"{k}.png", k)
    for k in range(6):
        save_picture(tmp_path / "train" / "dog" / f"{k}.png", 100 + k)
    return tmp_path / "train"


@pytest.fixture(scope="session")
def data_sets() -> Path:
    """The folder of real data sets that CVTRAINER_DATA_SETS names; a test without it is skipped."""
    named = os.environ.get("CVTRAINER_DATA_SETS")
    if not named:
        pytest.skip("CVTRAINER_DATA_SETS names no folder of real data sets")
    return Path(named)
