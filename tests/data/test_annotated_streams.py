"""Pictures with objects and masks through the stream: the same from threads and processes, and
what cannot be used is replaced and written down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cvtrainer.data.bad_samples import BadRecord
from cvtrainer.data.datasets.coco import Coco
from cvtrainer.data.datasets.instance_masks import InstanceMasks
from cvtrainer.data.datasets.mask_pairs import MaskPairs
from cvtrainer.data.datasets.voc import Voc
from cvtrainer.data.datasets.web_dataset import WebDataset
from cvtrainer.data.datasets.yolo import Yolo
from cvtrainer.data.pipeline import Parts
from cvtrainer.data.stream import LoaderStream
from cvtrainer.data.tensorizer import (
    BoxTensorizer,
    ImageTensorizer,
    IndexTensorizer,
    KeypointTensorizer,
    MaskTensorizer,
    Tensorizer,
)
from tests.data.conftest import save_picture
from tests.data.test_web_dataset import labelled, write_tar

COUNT = 9
BAD = 4
"""The number of the sample that cannot be used in each set."""


class _Labels:
    """Numbers of boxes as they are."""

    thread_safe = True

    def __call__(self, value: Any) -> torch.Tensor:
        return torch.as_tensor(np.asarray(value))


def _boxes(number: int) -> list[list[int]]:
    return [[k, k + 1, k + 4, k + 5 + number % 3] for k in range(number % 4)]


def coco(folder: Path) -> Coco:
    """Growing numbers of rectangles; the bad one has a box of three numbers."""
    annotations: list[dict[str, Any]] = []
    for number in range(COUNT):
        save_picture(folder / f"{number}.png", number, (16, 20))
        for x1, y1, x2, y2 in _boxes(number) + ([[0, 0, 1, 1]] if number == BAD else []):
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": number,
                    "category_id": 1 + number % 2,
                    "bbox": [x1, y1, x2 - x1, y2 - y1][: 3 if number == BAD else 4],
                    "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
                    "keypoints": [x1, y1, 2, x2, y2, 1],
                }
            )
    content = {
        "images": [{"id": k, "file_name": f"{k}.png"} for k in range(COUNT)],
        "annotations": annotations,
        "categories": [{"id": k, "name": str(k), "keypoints": ["a", "b"]} for k in (1, 2)],
    }
    (folder / "a.json").write_text(json.dumps(content))
    return Coco(folder, task="instances")


def coco_keypoints(folder: Path) -> Coco:
    """The same file for keypoints."""
    coco(folder)
    return Coco(folder, task="keypoints")


def voc(folder: Path) -> Voc:
    """The same boxes; the bad XML file ends early."""
    (folder / "Annotations").mkdir()
    for number in range(COUNT):
        save_picture(folder / "JPEGImages" / f"{number}.png", number, (16, 20))
        objects = "".join(
            f"<object><name>a</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
            f"<ymax>{d}</ymax></bndbox></object>"
            for a, b, c, d in _boxes(number)
        )
        text = f"<annotation>{objects}" + ("</annotation>" if number != BAD else "")
        (folder / "Annotations" / f"{number}.xml").write_text(text)
    return Voc(folder)


def yolo(folder: Path) -> Yolo:
    """The same boxes as shares; the bad file has a line too short."""
    (folder / "labels").mkdir()
    for number in range(COUNT):
        save_picture(folder / "images" / f"{number}.png", number, (16, 20))
        lines = [
            f"0 {(a + c) / 40} {(b + d) / 32} {(c - a) / 20} {(d - b) / 16}"
            for a, b, c, d in _boxes(number)
        ]
        text = "0 0.5" if number == BAD else "\n".join(lines)
        (folder / "labels" / f"{number}.txt").write_text(text)
    return Yolo(folder, classes=["a"])


def mask_pairs(folder: Path) -> MaskPairs:
    """Masks of zeros and ones; the bad one has a two."""
    (folder / "masks").mkdir()
    for number in range(COUNT):
        save_picture(folder / "images" / f"{number}.png", number, (16, 20))
        mask = np.zeros((16, 20), dtype=np.uint8)
        mask[: number + 1] = 2 if number == BAD else 1
        Image.fromarray(mask).save(folder / "masks" / f"{number}.png")
    return MaskPairs(folder, classes=["ground", "thing"])


def instance_masks(folder: Path) -> InstanceMasks:
    """A file per rectangle; one of the bad ones is no picture."""
    for number in range(COUNT):
        save_picture(folder / f"{number}" / "images" / "a.png", number, (16, 20))
        (folder / f"{number}" / "masks").mkdir()
        for k, (x1, y1, x2, y2) in enumerate(_boxes(number)):
            mask = np.zeros((16, 20), dtype=np.uint8)
            mask[y1:y2, x1:x2] = 255
            Image.fromarray(mask).save(folder / f"{number}" / "masks" / f"{k}.png")
    (folder / f"{BAD}" / "masks" / "z.png").write_bytes(b"nothing")
    return InstanceMasks(folder)


def web_dataset(folder: Path) -> WebDataset:
    """Pictures in two archives; the bad one is no picture."""
    members = labelled(0, COUNT)
    members[f"{BAD:04d}.png"] = b"nothing"
    names = list(members)
    for part, some in (("a", names[:10]), ("b", names[10:])):
        write_tar(folder / f"{part}.tar", {name: members[name] for name in some})
    return WebDataset(folder)


PARTS: dict[str, Any] = {
    "x": ImageTensorizer(),
    "class_id": IndexTensorizer(3),
    "boxes": BoxTensorizer(),
    "box_labels": _Labels(),
    "masks": MaskTensorizer(),
    "mask": MaskTensorizer(2),
    "keypoints": KeypointTensorizer(),
}
MAKERS: tuple[Callable[[Path], Any], ...] = (
    coco,
    coco_keypoints,
    voc,
    yolo,
    mask_pairs,
    instance_masks,
    web_dataset,
)


class _Ledger:
    quarantine = None

    def __init__(self) -> None:
        self.records: set[BadRecord] = set()

    def add(self, records: tuple[BadRecord, ...], /) -> None:
        self.records |= set(records)


def _batches(dataset: Any, ledger: _Ledger, **options: Any) -> list[Any]:
    fields = ("x", *dataset.fields)
    tensorizer = Tensorizer({name: PARTS[name] for name in fields})
    stream = LoaderStream(
        Parts(dataset, tensorizer=tensorizer),
        seed=3,
        options={"batch_size": 4, "shuffle": True, **options},
        ledger=ledger,
    )
    try:
        return list(stream.epoch(2))
    finally:
        stream.close()


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return set(one) == set(other) and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else bool(one == other)


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_batches_are_the_same_whoever_makes_them(
    make: Callable[[Path], Any], tmp_path: Path
) -> None:
    dataset = make(tmp_path)
    assert len(dataset) == COUNT
    ledger = _Ledger()
    plain = _batches(dataset, ledger)
    assert {record.index for record in ledger.records} == {BAD}
    indices = [index for batch in plain for index in batch["meta"]["index"]]
    assert BAD not in indices
    assert len(indices) == COUNT
    for workers in ("threads", "processes"):
        again = _Ledger()
        assert _same(plain, _batches(dataset, again, num_workers=2, workers=workers))
        assert again.records == ledger.records
