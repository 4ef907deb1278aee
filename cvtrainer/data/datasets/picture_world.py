"""A picture world, drawn in memory or read from disk, with whatever each picture's labels are.

What the pictures show, how they are drawn and written, is the business of
`cvtrainer.data.picture_world`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.adapter import DataAdapter
from cvtrainer.data.datasets.annotated import BACKGROUND
from cvtrainer.data.decode import read_image, read_mask
from cvtrainer.data.picture_world import CLASSES, LOOKS, PARTS, drawn_world, instance_masks
from cvtrainer.data.picture_world.writer import check_world
from cvtrainer.data.sample import Sample

_FIELDS = (
    *("class_id", "class_ids", "boxes", "box_labels", "mask", "masks"),
    *("keypoints", "count", "numbers"),
)
_OF_SHAPES = frozenset(("class_id", "class_ids", "box_labels"))
"""Fields whose numbers are those of the shapes, from 0 on."""
_COUNTS = {"train": 900, "val": 180, "test": 180}


class PictureWorld(DataAdapter):
    """Samples with the target fields asked for.

    class_id (of the largest shape), class_ids (all there are), boxes, box_labels, mask (shapes from
    1 on; where no other field has classes, the first of them is the background), masks (one per
    shape), keypoints (the largest shape's marks: of an arrow tip, left, right, tail), count,
    numbers (count, and percent of the picture that shapes cover). Without `data_path` the pictures
    are drawn, `count` of them; `size`, `seed`, `classes` and `look` belong to drawing.
    """

    draws_randomly = False
    thread_safe = True

    def __init__(
        self,
        data_path: str | Path | None = None,
        *,
        split: str = "train",
        fields: Sequence[str] = ("class_id",),
        count: int | None = None,
        size: int = 64,
        seed: int = 0,
        classes: Sequence[str] = CLASSES,
        look: Literal["lively", "calm"] = "lively",
    ) -> None:
        unknown = [name for name in fields if name not in _FIELDS]
        if unknown:
            raise UserError(
                f"a picture world has no field {unknown[0]}", todo=f"Use {', '.join(_FIELDS)}."
            )
        self.fields = tuple(fields)
        regions = "mask" in self.fields and not _OF_SHAPES.intersection(self.fields)
        if regions and tuple(classes)[:1] == (BACKGROUND,):  # as a trained run names them
            classes = tuple(classes)[1:]
        self.folder = Path(data_path) if data_path is not None else None
        self._entries: list[dict[str, Any]]
        if self.folder is not None:
            names, self._entries = _read_annotations(self.folder, split)
        else:
            _check_drawing(split, count, look)
            check_world(size, classes, fewest=1)
            names = list(classes)
            self._entries = _drawn(
                drawn_world(
                    split,
                    count or _COUNTS[split],
                    size=size,
                    seed=seed,
                    classes=names,
                    look=LOOKS[look],
                )
            )
        if regions:
            names = [BACKGROUND, *names]
        self.classes: dict[str, int] = {name: k for k, name in enumerate(names)}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def labels(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The class of each picture, for splits and samplers."""
        return np.asarray([entry["class_id"] for entry in self._entries], dtype=np.int64)

    def _load_sample(self, idx: int) -> Sample:
        entry = self._entries[idx]
        meta: dict[str, Any] = {"index": idx}
        if self.folder is None:
            pixels = entry["pixels"].copy()
        else:
            pixels = read_image(self.folder / entry["file"])
            meta["path"] = str(self.folder / entry["file"])
        target = {name: self._field(entry, name) for name in self.fields}
        return {"x": pixels, "target": target, "meta": meta}

    def _field(self, entry: dict[str, Any], name: str) -> Any:
        if name == "mask":
            return self._mask(entry)
        if name == "masks":
            return instance_masks(self._mask(entry), entry["boxes"], entry["box_labels"])
        if name == "boxes":
            return np.asarray(entry["boxes"], dtype=np.float32).reshape(-1, 4)
        if name == "box_labels":
            return np.asarray(entry["box_labels"], dtype=np.int64)
        if name == "class_ids":
            return sorted(set(entry["box_labels"]))
        if name == "keypoints":
            return np.asarray(entry.get("keypoints", ()), dtype=np.float32).reshape(-1, 3)
        if name == "numbers":
            covered = 100 * float((self._mask(entry) > 0).mean())
            return np.asarray([len(entry["boxes"]), covered], dtype=np.float32)
        return int(entry[name])

    def _mask(self, entry: dict[str, Any]) -> Any:
        if self.folder is None:
            return entry["mask"].copy()
        return read_mask(self.folder / entry["mask"])


def _drawn(pictures: Sequence[Any]) -> list[dict[str, Any]]:
    """Pictures in the words of the file of annotations."""
    return [
        {
            "pixels": one.pixels,
            "class_id": one.class_id,
            "boxes": one.boxes,
            "box_labels": one.box_labels,
            "mask": one.mask,
            "keypoints": [[x, y, 2.0] for x, y in one.marks],
            "count": len(one.boxes),
        }
        for one in pictures
    ]


def _check_drawing(split: str, count: int | None, look: str) -> None:
    if split not in PARTS:
        raise UserError(f"no split {split!r}", todo=f"Use {', '.join(PARTS)}.")
    if count is not None and count < 1:
        raise UserError(f"a picture world of {count} pictures", todo="Give 1 or more.")
    if look not in LOOKS:
        raise UserError(f"no look {look!r}", todo=f"Use {', '.join(LOOKS)}.")


def _read_annotations(folder: Path, split: str) -> tuple[list[str], list[dict[str, Any]]]:
    path = folder / "annotations.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            "no picture world here (annotations.json is missing)",
            where=str(folder),
            todo="Leave data_path out to have one drawn, or write one with "
            "cvtrainer.data.picture_world.write_picture_world(folder).",
        ) from error
    except ValueError as error:
        raise UserError("not readable as JSON", where=str(path)) from error
    if split not in record["splits"]:
        known = ", ".join(record["splits"])
        raise UserError(f"no split {split!r}", where=str(path), todo=f"Use {known}.")
    return list(record["classes"]), record["splits"][split]
