"""Reads a picture world from disk: class, boxes, mask and count of each generated picture.

What the files hold and how they are made is the business of `cvtrainer.data.picture_world`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.adapter import DataAdapter
from cvtrainer.data.decode import read_image, read_mask
from cvtrainer.data.sample import Sample

_FIELDS = ("class_id", "boxes", "box_labels", "mask", "count")


class PictureWorld(DataAdapter):
    """Samples with the target fields asked for: class_id, boxes, box_labels, mask, count."""

    draws_randomly = False
    thread_safe = True

    def __init__(
        self,
        data_path: str | Path,
        *,
        split: str = "train",
        fields: Sequence[str] = ("class_id",),
    ) -> None:
        self.folder = Path(data_path)
        unknown = [name for name in fields if name not in _FIELDS]
        if unknown:
            raise UserError(
                f"a picture world has no field {unknown[0]}", todo=f"Use {', '.join(_FIELDS)}."
            )
        record = _read_annotations(self.folder)
        if split not in record["splits"]:
            raise UserError(
                f"no split {split!r}",
                where=str(self.folder / "annotations.json"),
                todo=f"Use {', '.join(record['splits'])}.",
            )
        self.fields = tuple(fields)
        self.classes: dict[str, int] = {name: k for k, name in enumerate(record["classes"])}
        self._entries: list[dict[str, Any]] = record["splits"][split]

    def __len__(self) -> int:
        return len(self._entries)

    def _load_sample(self, idx: int) -> Sample:
        entry = self._entries[idx]
        path = self.folder / entry["file"]
        return {
            "x": read_image(path),
            "target": {name: self._field(entry, name) for name in self.fields},
            "meta": {"index": idx, "path": str(path)},
        }

    def _field(self, entry: dict[str, Any], name: str) -> Any:
        if name == "mask":
            return read_mask(self.folder / entry["mask"])
        if name == "boxes":
            return np.asarray(entry["boxes"], dtype=np.float32).reshape(-1, 4)
        if name == "box_labels":
            return np.asarray(entry["box_labels"], dtype=np.int64)
        return int(entry[name])


def _read_annotations(folder: Path) -> dict[str, Any]:
    path = folder / "annotations.json"
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            "no picture world here (annotations.json is missing)",
            where=str(folder),
            todo="Write one with cvtrainer.data.picture_world.write_picture_world(folder).",
        ) from error
    except ValueError as error:
        raise UserError("not readable as JSON", where=str(path)) from error
    return record
