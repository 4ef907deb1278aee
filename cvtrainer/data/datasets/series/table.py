"""Tables in long form: one row per point of time, columns for values, series and target.

Any table file: CSV, TSV, Excel, JSON, Parquet. Rows of a series may stand anywhere in the file;
with a time column they are put into its order, otherwise they keep theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.table_reading import Reading, read_table
from cvtrainer.data.datasets.series.record import SeriesContents, SeriesRecord


@dataclass(frozen=True)
class LongColumns:
    """Which column says what; `values` None takes every column of numbers that has no other use."""

    values: Sequence[str] | None = None
    series: str | None = None
    time: str | None = None
    target: str | None = None
    target_is_number: bool = False


def read_long(path: Path, columns: LongColumns) -> SeriesContents:
    """The series of that table, in the order in which they appear."""
    table = read_table(path, Reading())
    named = [columns.series, columns.time, columns.target, *(columns.values or ())]
    for name in named:
        if name is not None and name not in table.column_names:
            known = ", ".join(table.column_names)
            raise UserError(f"no column {name}", where=str(path), todo=f"It has {known}.")
    taken = columns.values or _free_numbers(table, columns, path)
    points = np.stack([_numbers(table, name, path) for name in taken], axis=1)
    names, series = _series(table, columns.series)
    order = np.arange(len(points))
    if columns.time is not None:
        order = compute.sort_indices(table.column(columns.time)).to_numpy()
    order = order[np.argsort(series[order], kind="stable")]
    cuts = np.cumsum(np.bincount(series, minlength=len(names)))[:-1]
    records = [
        _with_target(SeriesRecord(name, points[rows]), table, rows, columns)
        for name, rows in zip(names, np.split(order, cuts), strict=True)
    ]
    return SeriesContents(records, has_numbers=columns.target_is_number)


def _free_numbers(table: pa.Table, columns: LongColumns, path: Path) -> list[str]:
    used = {columns.series, columns.time, columns.target}
    free = [
        field.name
        for field in table.schema
        if field.name not in used
        and (pa.types.is_floating(field.type) or pa.types.is_integer(field.type))
    ]
    if not free:
        raise UserError("no column of numbers", where=str(path), todo="Name the columns.")
    return free


def _numbers(table: pa.Table, name: str, path: Path) -> NDArray[np.float32]:
    try:
        column = table.column(name).cast(pa.float64(), safe=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"column {name} holds something that is no number", where=str(path)) from (
            error
        )
    found: NDArray[np.float32] = column.to_numpy().astype(np.float32)
    return found


def _series(table: pa.Table, name: str | None) -> tuple[list[str], NDArray[np.int64]]:
    """The names of the series, and for each row which one it belongs to."""
    if name is None:
        return [""], np.zeros(table.num_rows, dtype=np.int64)
    encoded = table.column(name).combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    numbers = encoded.indices.to_numpy(zero_copy_only=False)
    return [str(value) for value in encoded.dictionary.to_pylist()], numbers.astype(np.int64)


def _with_target(
    record: SeriesRecord, table: pa.Table, rows: NDArray[np.int64], columns: LongColumns
) -> SeriesRecord:
    if columns.target is None:
        return record
    said: list[Any] = compute.unique(table.column(columns.target).take(pa.array(rows))).to_pylist()
    if len(said) != 1 or said[0] is None:
        what = "no target" if said in ([None], []) else f"{len(said)} targets in one series"
        return record.spoiled(what, "label")
    if not columns.target_is_number:
        return SeriesRecord(record.place, record.values, label=str(said[0]))
    try:
        return SeriesRecord(record.place, record.values, number=float(said[0]))
    except ValueError:
        return record.spoiled(f"the target {said[0]!r} is not a number", "label")
