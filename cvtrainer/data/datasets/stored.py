"""What all storages share: a row of an index becomes the fields of the chosen task.

A storage reads its files into columns with the names of the fields (`class_id`, `boxes`, `mask`
…) and is done; one whose fields need work (polygons, run lengths) overrides `field`. Nothing is
decoded here: pictures and masks leave as `Encoded`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.adapter import DataAdapter
from cvtrainer.data.datasets.tasks import task_fields
from cvtrainer.data.decode.sound import SOUND_EXTENSIONS
from cvtrainer.data.encoded import Encoded, Kind
from cvtrainer.data.index import Index, Numbers
from cvtrainer.data.sample import BadSample, Sample

_SHAPES: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
    "boxes": (np.float32, (-1, 4)),
    "box_labels": (np.int64, (-1,)),
    "keypoints": (np.float32, (-1, 3)),
    "class_ids": (np.int64, (-1,)),
}


class StoredDataset(DataAdapter):
    """Samples out of an index.

    Columns that mean something here: `path` (of the picture, relative to `root`), `offset`,
    `length` and `member` (inside an archive), `class_id`, `class_ids`, `value`, `boxes`,
    `box_labels`, `keypoints`, `mask` (a path), `width` and `height` (as annotated), `group`.
    """

    draws_randomly = False
    thread_safe = True

    def __init__(
        self,
        index: Index,
        *,
        root: str | Path,
        task: str,
        classes: Sequence[str],
        possible: Sequence[str] | None = None,
    ) -> None:
        self.index = index
        self.root = Path(root)
        self.task = task
        self.classes: dict[str, int] = {str(name): k for k, name in enumerate(classes)}
        """Class name to class number: the map that binds validation, evaluation and prediction."""
        self.fields = task_fields(task, possible or index.names, str(root))
        if not len(index):
            raise UserError("the data set holds no samples", where=str(root))
        self._sized = "width" in index and "height" in index

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of their numbers."""
        return tuple(self.classes)

    @property
    def labels(self) -> Numbers | None:
        """The class number of each sample, where a sample has one."""
        return self.index.numbers("class_id") if "class_id" in self.index else None

    @property
    def groups(self) -> Sequence[Any] | None:
        """What keeps samples together in a split (a patient, a video), where the data says it."""
        return self.index.column("group").to_pylist() if "group" in self.index else None

    def __len__(self) -> int:
        return len(self.index)

    def _load_sample(self, idx: int) -> Sample:
        meta: dict[str, Any] = {"index": idx, "path": self.file(idx)}
        if self._sized:
            meta["annotated_size"] = (
                self.index.value("height", idx),
                self.index.value("width", idx),
            )
        return {
            "x": self.input(idx),
            "target": {name: self.field(name, idx) for name in self.fields},
            "meta": meta,
        }

    def input(self, row: int) -> Any:
        """What goes into the network: by default the picture, or the sound, of that row."""
        sound = (self.index.value("path", row) or "").lower().endswith(SOUND_EXTENSIONS)
        return self.encoded("path", row, "sound" if sound else "image")

    def file(self, row: int) -> str:
        """The file that messages name for that row."""
        return str(self.root / self.index.value("path", row))

    def field(self, name: str, row: int) -> Any:
        """A target field of that row."""
        if name == "mask":
            return self.encoded("mask", row, "mask")
        value = self.index.value(name, row)
        if value is None:
            raise BadSample(f"no {name} is given", kind="annotation", where=self.file(row))
        if name == "class_id":
            return self._known_class(int(value), row)
        if name in ("value", "boxes", "keypoints") and not np.isfinite(value).all():
            raise BadSample(f"{name} is not a number", kind="value", where=self.file(row))
        if name == "value":
            return float(value) if np.ndim(value) == 0 else np.asarray(value, dtype=np.float32)
        dtype, shape = _SHAPES[name]
        rows = np.asarray(value, dtype=dtype).reshape(shape)
        if name in ("box_labels", "class_ids"):
            for number in rows.tolist():
                self._known_class(number, row)
        return rows

    def encoded(self, column: str, row: int, kind: Kind) -> Encoded:
        """The file (or the part of an archive) that a column names."""
        path = self.index.value(column, row)
        if path is None:
            raise BadSample(f"no {kind} file is given", kind="annotation", where=str(self.root))
        where = str(self.root / path)
        if "offset" not in self.index or column != "path":
            return Encoded(where, kind)
        return Encoded(
            where,
            kind,
            offset=self.index.value("offset", row),
            length=self.index.value("length", row),
            member=self.index.value("member", row) or "",
        )

    def _known_class(self, number: int, row: int) -> int:
        if number < 0:
            raise BadSample(
                f"the label is missing or none of the {len(self.classes)} classes",
                kind="label",
                where=self.file(row),
            )
        if number >= len(self.classes):
            raise BadSample(
                f"class number {number} is outside of the {len(self.classes)} classes",
                kind="label",
                where=self.file(row),
                todo="Correct the label.",
            )
        return number
