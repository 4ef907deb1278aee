"""What batches are made of in the exactness tests: a table of back ends and tasks.

Each entry makes its parts in a folder that it may write to. To add one, write a function and give
it a name in CONTENTS; everything in it must be importable, so that it travels to any process.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cvtrainer.data import DataAdapter, ImageFolder
from cvtrainer.data.collate import Collate
from cvtrainer.data.decode import Decoding
from cvtrainer.data.mixing import MixUpOrCutMix, Mosaic
from cvtrainer.data.opening import FilePixels
from cvtrainer.data.pipeline import Parts
from cvtrainer.data.tensorizer import (
    BoxTensorizer,
    ImageTensorizer,
    IndexTensorizer,
    KeypointTensorizer,
    MaskTensorizer,
    OneHotTensorizer,
    ScalarTensorizer,
    SequenceTensorizer,
    Tensorizer,
)
from cvtrainer.data.transforms import Transforms

LENGTH = 27
_CLASS_FIELDS = {"x": ImageTensorizer(), "class_id": IndexTensorizer()}


class Scenes(DataAdapter):
    """Generated pictures with what a task asks for."""

    draws_randomly = False
    thread_safe = True

    def __init__(self, *fields: str) -> None:
        self.fields = fields

    def __len__(self) -> int:
        return LENGTH

    def _load_sample(self, idx: int) -> dict[str, Any]:
        rng = np.random.default_rng(idx)
        picture = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
        count = idx % 4
        corners = rng.uniform(0, 25, (count, 2)).astype(np.float32)
        target = {
            "class_id": idx % 5,
            "boxes": np.concatenate([corners, corners + 12], axis=1),
            "box_labels": rng.integers(0, 5, count),
            "mask": (picture[:, :, 0] > 128).astype(np.uint8),
            "keypoints": np.concatenate([corners, np.full((count, 1), 2)], axis=1),
        }
        return {"x": picture, "target": {name: target[name] for name in self.fields}}


class Drawn(DataAdapter):
    """Draws from the global generators while it loads."""

    def __len__(self) -> int:
        return LENGTH

    def _load_sample(self, idx: int) -> dict[str, Any]:
        picture = np.random.randint(0, 256, (20, 20, 3), dtype=np.uint8)
        return {"x": picture, "target": {"class_id": idx % 5, "value": random.random()}}


class Curves(DataAdapter):
    """Series of unequal length."""

    draws_randomly = False
    thread_safe = True

    def __len__(self) -> int:
        return LENGTH

    def _load_sample(self, idx: int) -> dict[str, Any]:
        steps = np.arange(5 + idx % 7, dtype=np.float32)
        return {
            "x": np.stack([np.sin(steps * idx), steps], axis=1),
            "target": {"class_id": idx % 5},
        }


def _augmented(backend: str, *more: Any) -> Transforms:
    return Transforms(
        backend,
        [
            {"type": "RandomResizedCrop", "height": 24, "width": 32, "scale": [0.4, 1.0]},
            "HorizontalFlip",
            {"type": "ColorJitter", "brightness": 0.4, "hue": 0.1},
            *more,
        ],
    )


def classes_albumentations(folder: Path) -> Parts:
    return Parts(
        Scenes("class_id"),
        transforms=_augmented("Albumentations", "RandAugment"),
        tensorizer=Tensorizer(_CLASS_FIELDS),
    )


def classes_torchvision(folder: Path) -> Parts:
    return Parts(
        Scenes("class_id"),
        transforms=_augmented("Torchvision", "TrivialAugmentWide", "RandomErasing"),
        tensorizer=Tensorizer(_CLASS_FIELDS),
    )


def native_albumentations(folder: Path) -> Parts:
    return Parts(
        Scenes("class_id"),
        transforms=_augmented("Albumentations", "GaussNoise", "albumentations.CLAHE"),
        tensorizer=Tensorizer(_CLASS_FIELDS),
    )


def classes_results(folder: Path) -> Parts:
    transforms = Transforms(
        "results",
        [
            {"type": "RandomFlip", "direction": ["horizontal", "vertical"]},
            {"type": "Resize", "target_size": 24},
            {"type": "RandomColorJitter", "hue_p": 0.5, "gamma_p": 0.5},
        ],
    )
    return Parts(Scenes("class_id"), transforms=transforms, tensorizer=Tensorizer(_CLASS_FIELDS))


def boxes(folder: Path) -> Parts:
    return Parts(
        Scenes("boxes", "box_labels"),
        transforms=_augmented("Albumentations", {"type": "Affine", "rotate": 10}),
        tensorizer=Tensorizer(
            {"x": ImageTensorizer(), "boxes": BoxTensorizer(), "box_labels": IndexTensorizer()}
        ),
    )


def masks_and_points(folder: Path) -> Parts:
    return Parts(
        Scenes("mask", "keypoints"),
        transforms=_augmented("Torchvision"),
        tensorizer=Tensorizer(
            {
                "x": ImageTensorizer(None, dtype="uint8"),
                "mask": MaskTensorizer(),
                "keypoints": KeypointTensorizer(),
            }
        ),
    )


def mixed(folder: Path) -> Parts:
    return Parts(
        Scenes("class_id"),
        transforms=_augmented("Albumentations"),
        tensorizer=Tensorizer({"x": ImageTensorizer(), "class_id": OneHotTensorizer(5)}),
        mixers=(MixUpOrCutMix(p=0.7),),
    )


def mosaic(folder: Path) -> Parts:
    return Parts(
        Scenes("boxes", "box_labels"),
        transforms=_augmented("Albumentations"),
        tensorizer=Tensorizer(
            {"x": ImageTensorizer(), "boxes": BoxTensorizer(), "box_labels": IndexTensorizer()}
        ),
        mixers=(Mosaic(height=24, width=32, p=0.8),),
    )


def files(folder: Path) -> Parts:
    """JPEG files, one of them broken, decoded as small as will do."""
    for k in range(LENGTH):
        path = folder / "files" / "ab"[k % 2] / f"{k:02}.jpg"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(k).integers(0, 256, (9, 12, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((96, 72)).save(path)
    (folder / "files" / "a" / "04.jpg").write_bytes(b"no picture")
    return Parts(
        ImageFolder(folder / "files"),
        pixels=FilePixels(Decoding(scaled=True)),
        transforms=_augmented("Albumentations"),
        tensorizer=Tensorizer(_CLASS_FIELDS),
    )


def drawn(folder: Path) -> Parts:
    fields = {**_CLASS_FIELDS, "value": ScalarTensorizer()}
    return Parts(Drawn(), transforms=_augmented("Torchvision"), tensorizer=Tensorizer(fields))


def curves(folder: Path) -> Parts:
    fields = {"x": SequenceTensorizer(), "class_id": IndexTensorizer()}
    return Parts(Curves(), tensorizer=Tensorizer(fields), collate=Collate(ragged=("x",)))


CONTENTS: dict[str, Callable[[Path], Parts]] = {
    one.__name__: one
    for one in (
        classes_albumentations,
        classes_torchvision,
        classes_results,
        native_albumentations,
        boxes,
        masks_and_points,
        mixed,
        mosaic,
        files,
        drawn,
        curves,
    )
}
