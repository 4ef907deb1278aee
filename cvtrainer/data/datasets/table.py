"""A table with a row per sample: pictures by path, or vectors, texts and arrays in its cells.

CSV, TSV, Excel, JSON, JSON lines, Parquet and Arrow. Reading is table_reading's, the choice of
columns table_roles', their form table_build's; here they become samples. Arrays in an Arrow file
stay there and are mapped.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.kept_index import IndexStore, Kept, stamp_of
from cvtrainer.data.datasets.reading.table_build import Missing, Wishes, build, rows_of_split
from cvtrainer.data.datasets.reading.table_reading import Reading, as_text, read_table
from cvtrainer.data.datasets.reading.table_roles import Roles, choose_roles, holds_bytes
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.datasets.tasks import FIELDS_OF_TASK
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.index import Index
from cvtrainer.data.sample import BadSample, Sample

_READ_WORDS = ("sheet", "encoding", "separator", "decimal", "label_separator", "index_dir")
_TEXT_ROLES = (
    *("image", "label", "labels", "box_labels", "mask", "group", "split", "text", "categories"),
)
_LOOK_AT = 20


class Table(StoredDataset):
    """Samples out of a table file; `evidence` says which columns were taken for what, and why.

    `columns` gives a role to columns: image (a path, or `{id}.jpg`), text, inputs (numbers, or one
    column of lists), categories (names beside the inputs, a field of their own), label, labels,
    value, boxes or boxes_xywh, box_labels, keypoints, mask, width, height, group, split. Roles left
    out are found by name and content where that is clear. `split` takes the rows whose split column
    says so; `root` is where image paths begin. An empty input makes a bad sample, or is the mean of
    its column, zero, or NaN (`missing`). `read` may hold sheet, encoding, separator, decimal,
    label_separator and index_dir.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        columns: Mapping[str, str | Sequence[str]] | None = None,
        task: str | None = None,
        classes: Sequence[str] | None = None,
        split: str | None = None,
        root: str | Path | None = None,
        missing: Missing = "bad",
        read: Mapping[str, Any] | None = None,
    ) -> None:
        self.table_file = Path(data_path)
        where = str(self.table_file)
        read = _checked_read(read or {}, where)
        if missing not in ("bad", "mean", "zero", "keep"):
            raise UserError(
                f"missing: {missing!r}", where=where, todo="Use bad, mean, zero or keep."
            )
        self.missing = missing
        said = dict(columns or {})
        wishes = Wishes(classes, missing, read.pop("label_separator", None))
        arguments = {
            "columns": said,
            "task": task,
            "read": read,
            "wishes": str(wishes),
            "split": split,
        }
        store = IndexStore(read.pop("index_dir", None), where, {"reader": "table", **arguments})
        kept = store.find() or self._read(said, task, Reading(**read), wishes, split, store)
        learned = kept.learned
        self.evidence: tuple[str, ...] = tuple(learned["evidence"])
        index = kept.index
        super().__init__(
            index,
            root=root if root is not None else self.table_file.parent,
            task=learned["task"],
            classes=learned["classes"],
            possible=(*index.names, *FIELDS_OF_TASK[learned["task"]]),
        )
        self._inputs: list[str] = learned["inputs"]
        self._cells: str = learned["cells"]
        self._holder: Index | None = None
        if self._cells:
            self._holder = self._hold(Reading(**read))
        if "path" in index:
            self._must_find_some()

    def _load_sample(self, idx: int) -> Sample:
        sample = super()._load_sample(idx)
        if "categories" in self.index:
            sample["categories"] = self.index.value("categories", idx)
        return sample

    def input(self, row: int) -> Any:
        """The picture, text, vector or array of that row."""
        if self._holder is not None:
            return self._cell(row)
        if "path" in self.index:
            return super().input(row)
        if "text" in self.index:
            text = self.index.value("text", row)
            if text is None:
                raise BadSample("no text is given", kind="text", where=self.file(row))
            return text
        return self._vector(np.array(self.index.value("inputs", row), dtype=np.float32), row)

    def file(self, row: int) -> str:
        """The picture of that row, or the table and the number of the row in it, from 0."""
        if "path" in self.index:
            return str(self.root / (self.index.value("path", row) or ""))
        return f"{self.table_file}[{self.index.value('row', row)}]"

    def _read(
        self,
        said: Mapping[str, str | Sequence[str]],
        task: str | None,
        reading: Reading,
        wishes: Wishes,
        split: str | None,
        store: IndexStore,
    ) -> Kept:
        path, where = self.table_file, str(self.table_file)
        table = read_table(path, reading)
        stamps = [stamp_of(str(path.absolute()))]
        roles = choose_roles(table, said, task, where)
        table = as_text(path, reading, table, _texts_needed(table, roles))
        built = build(table, roles, wishes, where)
        learned = {
            "task": roles.task,
            "classes": built.classes,
            "evidence": roles.evidence,
            "cells": built.cells,
            "inputs": list(roles.get("inputs")),
        }
        index = Index.of(built.columns)
        if split is not None:
            index = _part(index, split, where)
        return store.keep(index, stamps, learned)

    def _hold(self, reading: Reading) -> Index:
        """The column that stays in the table: mapped out of an Arrow file, else in memory."""
        if self.table_file.suffix.lower() in (".arrow", ".feather", ".ipc"):
            try:
                return Index.open(self.table_file)
            except UserError:
                pass
        return Index(read_table(self.table_file, reading).select([self._cells]).combine_chunks())

    def _cell(self, row: int) -> Any:
        assert self._holder is not None
        number = self.index.value("row", row)
        value = self._holder.value(self._cells, number)
        if isinstance(value, Mapping):
            value = value["bytes"]
        if value is None:
            raise BadSample(f"{self._cells} is empty", kind="empty", where=self.file(row))
        if isinstance(value, bytes):
            return Encoded(str(self.table_file), member=str(number), data=value)
        try:
            return self._vector(np.array(value, dtype=np.float32), row)
        except ValueError as error:
            raise BadSample(
                f"{self._cells} holds lists of different lengths",
                kind="value",
                where=self.file(row),
            ) from error

    def _vector(self, values: Any, row: int) -> Any:
        wrong = ~np.isfinite(values)
        if not wrong.any() or (self.missing == "keep" and not np.isinf(values).any()):
            return values
        place = int(np.flatnonzero(wrong.reshape(-1))[0])
        name = self._inputs[place] if len(self._inputs) > 1 else f"{self._inputs[0]}[{place}]"
        raise BadSample(
            f"{name} has no value",
            kind="value",
            where=self.file(row),
            todo="Fill it in, or say missing: mean, zero or keep.",
        )

    def _must_find_some(self) -> None:
        """A table whose images lie elsewhere is told at once, and not image by image."""
        rows = np.linspace(0, len(self) - 1, min(_LOOK_AT, len(self))).astype(int).tolist()
        if not any(Path(self.file(row)).is_file() for row in rows):
            raise UserError(
                f"none of the first files is there, e.g. {self.file(rows[0])}",
                where=str(self.table_file),
                todo="Say where the paths begin: root: ...",
            )


def _checked_read(read: Mapping[str, Any], where: str) -> dict[str, Any]:
    for word in read:
        if word not in _READ_WORDS:
            raise UserError(
                f"read has no word {word!r}", where=where, todo=f"Use {', '.join(_READ_WORDS)}."
            )
    return dict(read)


def _part(index: Index, split: str, where: str) -> Index:
    if "split" not in index:
        raise UserError(
            f"no column says which rows belong to split {split!r}",
            where=where,
            todo="Say columns: {split: ...}, or use a split by ratio.",
        )
    return index.take(rows_of_split(index.column("split"), split, where))


def _texts_needed(table: pa.Table, roles: Roles) -> list[str]:
    """Columns whose cells are names, even where they look like numbers."""
    names: list[str] = []
    for role in _TEXT_ROLES:
        for name in roles.get(role):
            if role == "labels" and len(roles.get(role)) > 1:
                continue
            inner = (
                [part[1] for part in string.Formatter().parse(name) if part[1]]
                if role == "image"
                else []
            )
            names += [n for n in (inner or [name]) if n in table.column_names]
    kinds = {name: table.schema.field(name).type for name in names}
    return [
        n for n, kind in kinds.items() if not pa.types.is_nested(kind) and not holds_bytes(kind)
    ]
