"""A tiny set in the python version of CIFAR-10's file format: ten classes of 32x32 pictures.

It stands in for the real files where there is no network, and its files are laid out exactly like
the real ones: five pickled training batches, a test batch and the label names.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.files import write_whole
from cvtrainer.core.seeds import mix
from cvtrainer.data.picture_world.scenes import CALM, draw_picture
from cvtrainer.data.picture_world.shapes import ALL_SHAPES

FOLDER = "cifar-10-batches-py"
_SIDE = 32
_TRAIN_FILES = 5


def tiny_cifar10(
    split: Literal["train", "test"], *, count: int, seed: int = 0
) -> tuple[NDArray[np.uint8], list[int]]:
    """Rows of 3,072 bytes (red plane, green, blue) and their labels, classes taking turns."""
    rows = np.empty((count, 3 * _SIDE * _SIDE), dtype=np.uint8)
    labels = [k % len(ALL_SHAPES) for k in range(count)]
    part = 0 if split == "train" else 1
    for k, label in enumerate(labels):
        rng = np.random.Generator(np.random.Philox(key=mix(seed, part, k)))
        picture = draw_picture(label, rng, size=_SIDE, shapes=ALL_SHAPES, look=CALM)
        rows[k] = picture.pixels.transpose(2, 0, 1).reshape(-1)
    return rows, labels


def write_tiny_cifar10(
    folder: str | Path, *, train: int = 1000, test: int = 200, seed: int = 0
) -> Path:
    """Write `cifar-10-batches-py` below that folder and return it."""
    place = Path(folder) / FOLDER
    rows, labels = tiny_cifar10("train", count=train, seed=seed)
    for number, part in enumerate(np.array_split(np.arange(train), _TRAIN_FILES), start=1):
        title = f"training batch {number} of {_TRAIN_FILES}"
        _write_batch(place / f"data_batch_{number}", title, rows, labels, part)
    rows, labels = tiny_cifar10("test", count=test, seed=seed)
    _write_batch(place / "test_batch", "testing batch 1 of 1", rows, labels, np.arange(test))
    meta = {
        b"num_cases_per_batch": -(-train // _TRAIN_FILES),
        b"label_names": [name.encode() for name in ALL_SHAPES],
        b"num_vis": 3 * _SIDE * _SIDE,
    }
    _write(place / "batches.meta", meta)
    return place


def _write_batch(
    path: Path, title: str, rows: NDArray[np.uint8], labels: list[int], part: NDArray[Any]
) -> None:
    own = [labels[k] for k in part]
    names = [f"{ALL_SHAPES[label]}_s_{k:06d}.png" for k, label in zip(part, own, strict=True)]
    record = {
        b"batch_label": title.encode(),
        b"labels": own,
        b"data": rows[part],
        b"filenames": [name.encode() for name in names],
    }
    _write(path, record)


def _write(path: Path, record: dict[bytes, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, pickle.dumps(record, protocol=2))
