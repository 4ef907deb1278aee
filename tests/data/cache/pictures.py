"""Small picture files with labels, for the tests of caches."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cvtrainer.data.encoded import Encoded
from cvtrainer.data.pipeline import Parts
from cvtrainer.data.stream import LoaderStream
from cvtrainer.data.tensorizer import ImageTensorizer, Tensorizer
from cvtrainer.data.transforms import Transforms

LONG_AGO = 1_600_000_000


def save_jpeg(path: Path, seed: int, size: tuple[int, int] = (40, 56)) -> Path:
    """A smooth coloured picture, written once and left alone since."""
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(small).resize(size[::-1], Image.Resampling.BICUBIC).save(path, quality=90)
    return path


def save_mask(path: Path, seed: int, size: tuple[int, int] = (40, 56)) -> Path:
    """Class numbers 0 to 3."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(seed).integers(0, 4, size, dtype=np.uint8)
    Image.fromarray(numbers).save(path)
    return path


@dataclass
class Files:
    """A data set of the pictures in a folder, with masks where there are any."""

    folder: Path
    thread_safe = True
    draws_randomly = False

    def __post_init__(self) -> None:
        self.paths = sorted(str(path) for path in self.folder.glob("*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> dict[str, Any]:
        path = self.paths[number]
        target: dict[str, Any] = {"class_id": number % 3}
        mask = path.replace(".jpg", ".png")
        if os.path.exists(mask):
            target["mask"] = Encoded(mask, "mask")
        else:
            target["boxes"] = np.array([[2.0, 4.0, 20.0, 30.0]], np.float32)
        return {"x": Encoded(path), "target": target, "meta": {"index": number, "path": path}}


def make_files(folder: Path, count: int, *, masks: bool = False) -> Files:
    """That many pictures of two sizes."""
    for number in range(count):
        size = (40, 56) if number % 3 else (64, 48)
        save_jpeg(folder / f"{number:03}.jpg", number, size)
        if masks:
            save_mask(folder / f"{number:03}.png", number, size)
    return Files(folder)


def settle(folder: Path) -> None:
    """Give the files times of long ago, as those of real data sets have."""
    for path in folder.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))


def stream(
    files: Files, pixels: Any, *, before: Sequence[Any] = (), **options: Any
) -> LoaderStream:
    """Random parts of the pictures in batches of four, shuffled."""
    items = [
        *before,
        {"type": "RandomResizedCrop", "size": 24},
        {"type": "HorizontalFlip", "p": 0.5},
    ]
    fields: dict[str, Any] = {"x": ImageTensorizer()}
    return LoaderStream(
        Parts(
            files,
            pixels=pixels,
            transforms=Transforms("Albumentations", items),
            tensorizer=Tensorizer(fields, unmapped="pass"),
        ),
        seed=5,
        options={"batch_size": 4, "shuffle": True, **options},
    )
