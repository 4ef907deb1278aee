"""The table of a data set, one row per sample: columns in Arrow, on disk by memory map.

Ten million rows open at once and cost a worker process nothing, because all processes map the
same pages. A small table lives in memory. What the columns mean is said by the storage that
filled them; here they are numbers, texts and lists.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError

Numbers = NDArray[Any]


class Index:
    """Columns of equal length. A row's lists come as numpy arrays, its texts as `str`."""

    def __init__(self, table: pa.Table, *, path: Path | None = None) -> None:
        self._table = table
        self._columns = {name: table.column(name) for name in table.column_names}
        self.path = path

    @classmethod
    def of(cls, columns: Mapping[str, Any]) -> Index:
        """From numpy arrays, lists of plain values, lists of lists, or Arrow arrays."""
        arrays = {name: _as_arrow(values) for name, values in columns.items()}
        return cls(pa.table(arrays))

    @classmethod
    def open(cls, path: str | Path) -> Index:
        """The table in that Arrow file, mapped and not read."""
        file = Path(path)
        try:
            table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
        except FileNotFoundError as error:
            raise UserError("no such index file", where=str(file)) from error
        except pa.ArrowInvalid as error:
            raise UserError(
                "not an Arrow file", where=str(file), todo="Write the index again."
            ) from error
        return cls(table, path=file)

    def write(self, path: str | Path) -> Index:
        """Put the table into that file, whole or not at all, and return it as mapped from there."""
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f".{file.name}.{os.getpid()}")
        table = self._table.combine_chunks()
        try:
            with (
                pa.OSFile(str(beside), "wb") as sink,
                pa.ipc.new_file(sink, table.schema) as writer,
            ):
                writer.write_table(table, max_chunksize=max(len(table), 1))
            with beside.open("rb") as written:
                os.fsync(written.fileno())
            beside.replace(file)
        finally:
            beside.unlink(missing_ok=True)
        return Index.open(file)

    def noted(self, name: bytes, text: bytes) -> Index:
        """The same table with a note that is written along with it."""
        notes = {**(self._table.schema.metadata or {}), name: text}
        return Index(self._table.replace_schema_metadata(notes))

    def note(self, name: bytes) -> bytes | None:
        """A note that the table was written with."""
        found: bytes | None = (self._table.schema.metadata or {}).get(name)
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        return tuple(self._columns)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def value(self, name: str, row: int) -> Any:
        """One cell: a number, a text, None, a numpy array for a list, lists for deeper nesting."""
        scalar = self._columns[name][row]
        if isinstance(scalar, pa.ListScalar | pa.LargeListScalar | pa.FixedSizeListScalar):
            values = scalar.values
            if values is None:
                return None
            if pa.types.is_primitive(values.type):
                return values.to_numpy(zero_copy_only=False)
        return scalar.as_py()

    def numbers(self, name: str) -> Numbers:
        """A whole column of numbers, without a copy where it is one block."""
        column = self._columns[name]
        one_block = column.num_chunks == 1
        found: Numbers = (
            column.chunk(0).to_numpy(zero_copy_only=False) if one_block else column.to_numpy()
        )
        return found

    def texts(self, name: str) -> list[str]:
        """A whole column of texts, as a list: for columns with few rows."""
        found: list[str] = self._columns[name].to_pylist()
        return found

    def column(self, name: str) -> pa.ChunkedArray:
        """A whole column as Arrow has it."""
        return self._columns[name]

    def take(self, rows: Sequence[int] | Numbers) -> Index:
        """These rows, in this order."""
        return Index(self._table.take(pa.array(np.asarray(rows, dtype=np.int64))))

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        if self.path is not None:
            return Index.open, (self.path,)
        return Index, (self._table,)


def _as_arrow(values: Any) -> pa.Array:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "biuf":
        return pa.array(values)
    found = pa.array(list(values), from_pandas=False)
    if pa.types.is_string(found.type):
        return found.cast(pa.large_string())
    if pa.types.is_null(found.type):
        return found.cast(pa.large_string())
    return found
