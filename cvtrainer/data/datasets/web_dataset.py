"""WebDataset archives at any place: the members' places are found once, then only they are read.

The archives must not be packed. What is small (labels, boxes) is read with the index, pictures
and masks when a sample needs them. The index of a large set is kept and used only while every
archive is as it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.annotated import BACKGROUND, has_area
from cvtrainer.data.datasets.reading.kept_index import IndexStore, Kept, stamp_of
from cvtrainer.data.datasets.reading.tar_fields import FieldSources
from cvtrainer.data.datasets.reading.tar_members import Archive, Part, shard_files
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.index import Index, Numbers
from cvtrainer.data.sample import BadSample

_NUMBERED = ("class_id", "class_ids", "box_labels")
_UNKNOWN = -1


class WebDataset(StoredDataset):
    """Classification, multilabel, regression, detection, keypoints, segmentation, generation.

    `data_path` is an archive, a folder of them or a pattern (`train-{000..004}.tar`). `fields`
    says where a field comes from: `{x: jpg, class_id: "json:label"}`. Labels are numbers, or names
    in sorted order, unless `classes` numbers them. `split` takes the folder or the archives that
    begin with its name. Samples without an input are left out and counted.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        task: str = "classification",
        split: str | None = None,
        classes: Sequence[str] | None = None,
        fields: Mapping[str, str] | None = None,
        index_dir: str | Path | None = None,
    ) -> None:
        shards = shard_files(data_path, split)
        root = Path(os.path.commonpath([shard.absolute().parent for shard in shards]))
        known = None if classes is None else [str(name) for name in classes]
        arguments = {
            "storage": "web_dataset",
            "shards": [str(shard.absolute()) for shard in shards],
            "said": [task, known, dict(fields or {})],
        }
        store = IndexStore(index_dir, root, arguments)
        kept = store.find()
        if kept is None:
            sources = FieldSources(task, fields, str(data_path))
            kept = _Reader(root, sources, known).read(shards, store)
        self.notes: tuple[str, ...] = tuple(kept.learned["notes"])
        """What is left out and why, one sentence each."""
        self.evidence = self.notes
        names = kept.learned["classes"]
        possible = [*kept.index.names, *(["mask"] if "mask_offset" in kept.index else [])]
        super().__init__(kept.index, root=root, task=task, classes=names, possible=possible)

    def file(self, row: int) -> str:
        """The archive and the member that messages name for that row."""
        return self.encoded("path", row, "image").name

    def input(self, row: int) -> Any:
        """The picture or sound of that row, or its text."""
        member = str(self.index.value("member", row)).lower()
        if member.endswith(".wav"):
            return self.encoded("path", row, "sound")
        found = self.encoded("path", row, "image")
        if not member.endswith(".txt"):
            return found
        try:
            return found.read().decode("utf-8")
        except ValueError as error:
            raise BadSample("the text is not UTF-8", kind="text", where=found.name) from error

    def field(self, name: str, row: int) -> Any:
        """A target field of that row; what is missing or unknown makes a bad sample."""
        if name == "mask":
            return self._mask(row)
        value = self.index.value(name, row)
        if value is None or (name == "class_id" and value == _UNKNOWN):
            raise BadSample(
                f"the sample has no {name} that can be used", kind="label", where=self.file(row)
            )
        if name in ("boxes", "box_labels"):
            boxes, kept = self._boxes(row)
            return boxes[kept] if name == "boxes" else super().field(name, row)[kept]
        if name == "keypoints" and len(value) % 3:
            raise self._broken(f"{len(value)} numbers are not keypoints of three", row)
        return super().field(name, row)

    def _boxes(self, row: int) -> tuple[Numbers, Numbers]:
        """The boxes as written, and which of them have an area."""
        values = self.index.value("boxes", row)
        labels = self.index.value("box_labels", row)
        if values is None or labels is None or len(values) != 4 * len(labels):
            raise self._broken("boxes and their labels are not as many", row)
        boxes = np.asarray(values, dtype=np.float32).reshape(-1, 4)
        return boxes, has_area(boxes)

    def _broken(self, what: str, row: int) -> BadSample:
        return BadSample(what, kind="annotation", where=self.file(row))

    def _mask(self, row: int) -> Encoded:
        offset = self.index.value("mask_offset", row)
        if offset is None:
            raise BadSample("the sample has no mask", kind="annotation", where=self.file(row))
        return Encoded(
            str(self.root / self.index.value("path", row)),
            "mask",
            offset=offset,
            length=self.index.value("mask_length", row),
            member=self.index.value("mask_member", row),
        )


class _Reader:
    """One pass over the archives."""

    def __init__(self, root: Path, sources: FieldSources, classes: list[str] | None) -> None:
        self._root = root
        self._sources = sources
        self._classes = classes
        self._places: dict[str, list[Any]] = {k: [] for k in ("path", "offset", "length", "member")}
        self._masks: list[Part | None] = []
        self._values: dict[str, list[Any]] = {name: [] for name in sources.values}
        self._without = 0

    def read(self, shards: Sequence[Path], store: IndexStore) -> Kept:
        """The index of all samples."""
        stamps = [stamp_of(str(shard.absolute())) for shard in shards]
        notes = [f"{shard.name} is cut off" for shard in shards if self._add(shard)]
        if self._without:
            notes.append(f"{self._without} samples without an input are left out")
        if not self._places["path"]:
            raise UserError(
                "no sample has an input",
                where=str(shards[0]),
                todo="Say which member it is, as in `fields: {x: jpg}`.",
            )
        columns: dict[str, Any] = dict(self._places)
        for name, values in self._values.items():
            if all(value is None for value in values):
                raise UserError(
                    f"no sample has a {name}",
                    where=str(shards[0]),
                    todo=f"Say where it is, as in `fields: {{{name}: json:{name}}}`.",
                )
            columns[name] = values
        names = self._number(columns)
        columns = {name: _column(name, values) for name, values in columns.items()}
        if self._sources.masked:
            for part, kind in (("offset", pa.int64()), ("length", pa.int64()), ("name", None)):
                found = [None if mask is None else getattr(mask, part) for mask in self._masks]
                column = "mask_member" if part == "name" else f"mask_{part}"
                columns[column] = pa.array(found, type=kind or pa.large_string())
        return store.keep(Index.of(columns), stamps, {"classes": names, "notes": notes})

    def _add(self, shard: Path) -> bool:
        """Put the samples of that archive in; True where it is cut off."""
        archive = Archive(shard)
        relative = os.path.relpath(shard.absolute(), self._root)
        with shard.open("rb", buffering=0) as file:

            def read(part: Part) -> bytes:
                return os.pread(file.fileno(), part.length, part.offset)

            for parts in archive.samples():
                given = self._sources.input(parts)
                if given is None:
                    self._without += 1
                    continue
                place = (relative, given.offset, given.length, given.name)
                for column, value in zip(self._places.values(), place, strict=True):
                    column.append(value)
                for name, values in self._values.items():
                    values.append(self._sources.value(name, parts, read))
                if self._sources.masked:
                    self._masks.append(self._sources.mask(parts))
        return archive.cut

    def _number(self, columns: dict[str, Any]) -> list[str]:
        """Labels as numbers; the names of the classes in the order of their numbers."""
        labels = [name for name in _NUMBERED if name in columns]
        found = {one for name in labels for value in columns[name] for one in _each(value)}
        numbers = all(isinstance(one, int) for one in found)
        if self._classes is not None:
            names = self._classes
        elif numbers:
            names = [str(k) for k in range(max(found, default=-1) + 1)]
        else:
            names = sorted(str(one) for one in found)
        if self._sources.masked and self._classes is None:
            names = [BACKGROUND, "object"]
        place = {name: k for k, name in enumerate(names)}

        def number(value: Any) -> int:
            if isinstance(value, int) and str(value) not in place:
                return value if 0 <= value < len(names) else _UNKNOWN
            return place.get(str(value), _UNKNOWN)

        for name in labels:
            many = name != "class_id"
            columns[name] = [
                None
                if value is None and many
                else [number(one) for one in _each(value)]
                if many
                else number(value)
                for value in columns[name]
            ]
        return names


def _each(value: Any) -> list[Any]:
    """The labels in a value: it may be one or a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


def _column(name: str, values: list[Any]) -> Any:
    if name in ("path", "member"):
        return pa.array(values, type=pa.large_string())
    if name in ("offset", "length", "class_id"):
        return pa.array(values, type=pa.int64())
    if name in _NUMBERED:
        return pa.array(values, type=pa.large_list(pa.int64()))
    if name == "value" and all(np.ndim(value) == 0 for value in values if value is not None):
        return pa.array([_number_or_none(value) for value in values], type=pa.float64())
    flat = [_floats(value) for value in values]
    return pa.array(flat, type=pa.large_list(pa.float32()))


def _number_or_none(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _floats(value: Any) -> list[float] | None:
    """All numbers of a value, row after row; None where it is not made of numbers."""
    try:
        return [float(one) for one in np.asarray(value, dtype=np.float64).ravel()]
    except (TypeError, ValueError):
        return None
