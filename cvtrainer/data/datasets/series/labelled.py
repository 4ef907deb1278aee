"""Files and tables of many series, one sample each: `x` float32 [T, C] and a class or a value.

What is missing in a series is filled, kept as NaN, or makes the sample a bad one, as `missing`
says; a channel without any value always makes a bad sample, unless gaps are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.labelled_files import class_order
from cvtrainer.data.datasets.series.arff_file import read_arff
from cvtrainer.data.datasets.series.record import (
    Missing,
    SeriesContents,
    SeriesRecord,
    Values,
    check_missing,
    column_of,
    filled,
)
from cvtrainer.data.datasets.series.table import LongColumns, read_long
from cvtrainer.data.datasets.series.ts_file import read_ts
from cvtrainer.data.datasets.series.tsf_file import read_tsf
from cvtrainer.data.datasets.series.ucr_file import read_ucr
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.index import Index
from cvtrainer.data.sample import BadSample, Sample

SERIES_EXTENSIONS = (".ts", ".arff", ".tsf", ".tsv")


class StoredSeries(StoredDataset):
    """Series in an index: columns `series` (values row by row) and `channels`."""

    def __init__(
        self,
        contents: SeriesContents,
        *,
        path: Path,
        task: str,
        classes: Sequence[str] | None,
        missing: Missing,
    ) -> None:
        check_missing(missing, str(path))
        self.missing = missing
        records = list(contents.records)
        names: tuple[str, ...] = ()
        if task == "classification":
            records, names = _with_classes(records, contents, classes, path)
        columns = {
            "path": [f"{path.name}:{record.place}" for record in records],
            "series": column_of([record.values for record in records]),
            "channels": np.array([r.values.shape[1] for r in records], dtype=np.int64),
            "problem": [record.problem for record in records],
            "problem_kind": [record.problem_kind for record in records],
        }
        columns.update(_targets(records, task, names))
        super().__init__(Index.of(columns), root=path.parent, task=task, classes=names)

    def input(self, row: int) -> Values:
        """The series [T, C] of that row."""
        channels = self.index.value("channels", row)
        values: Values = self.index.value("series", row).reshape(-1, channels).copy()
        if self.missing == "keep" or not np.isnan(values).any():
            return values
        if self.missing == "refuse":
            raise BadSample("a value is missing", kind="value", where=self.file(row))
        values = filled(values)
        if np.isnan(values).any():
            raise BadSample("a channel has no value at all", kind="empty", where=self.file(row))
        return values

    def _load_sample(self, idx: int) -> Sample:
        problem = self.index.value("problem", idx)
        if problem is not None:
            kind = self.index.value("problem_kind", idx)
            raise BadSample(problem, kind=kind, where=self.file(idx))
        return super()._load_sample(idx)


class SeriesFile(StoredSeries):
    """The series of a `.ts`, `.arff`, `.tsf` or (as in the UCR archive) `.tsv` file.

    `task` follows from the file: classification where it declares classes, regression where it
    declares a target or a horizon (then the last `horizon` values of each series are the target
    and the rest is `x`), generation otherwise. In an `.arff` file whose last attribute is a number
    `task: regression` takes it as the target. In a folder, `split` names the file: `train` for
    `walk_TRAIN.ts`.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        task: str | None = None,
        split: str | None = None,
        classes: Sequence[str] | None = None,
        missing: Missing = "interpolate",
        horizon: int | None = None,
    ) -> None:
        path = _series_file(Path(data_path), split)
        contents = read_series(path, number_last=task == "regression")
        horizon = horizon or contents.horizon
        labelled = contents.classes is not None
        declared = contents.has_numbers or horizon is not None
        if task is None:
            task = "classification" if labelled else "regression" if declared else "generation"
        if task == "regression" and horizon is not None and not contents.has_numbers:
            contents = replace(contents, records=[_cut(r, horizon) for r in contents.records])
        elif (task == "regression" and not declared) or (task == "classification" and not labelled):
            what = "classes" if task == "classification" else "no target and no horizon"
            raise UserError(
                f"task {task} needs a target, but the file declares "
                + ("no classes" if what == "classes" else what),
                where=str(path),
                todo="Give horizon, or another task.",
            )
        super().__init__(contents, path=path, task=task, classes=classes, missing=missing)


class SeriesTable(StoredSeries):
    """The series of a table in long form (CSV, Excel, Parquet …): one row per point of time.

    `series` names the column that says which series a row belongs to, `target` the one with its
    class (or its value with `task: regression`), `time` the one to order rows by, `columns` those
    with the values (default: every other column of numbers).
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        series: str,
        target: str | None = None,
        time: str | None = None,
        columns: Sequence[str] | None = None,
        task: str = "classification",
        classes: Sequence[str] | None = None,
        missing: Missing = "interpolate",
    ) -> None:
        path = Path(data_path)
        if target is None and task != "generation":
            raise UserError(f"task {task} needs target", where=str(path))
        layout = LongColumns(columns, series, time, target, target_is_number=task == "regression")
        contents = read_long(path, layout)
        super().__init__(contents, path=path, task=task, classes=classes, missing=missing)


def read_series(path: Path, *, number_last: bool = False) -> SeriesContents:
    """What a file of series holds, by its ending."""
    ending = path.suffix.lower()
    if ending == ".ts":
        return read_ts(path)
    if ending == ".arff":
        return read_arff(path, number_last=number_last)
    if ending == ".tsf":
        return read_tsf(path)
    if ending == ".tsv":
        return read_ucr(path)
    raise UserError(
        f"a file ending in {ending or 'nothing'} is no file of series",
        where=str(path),
        todo=f"Use {', '.join(SERIES_EXTENSIONS)}; tables are read by SeriesTable.",
    )


def _series_file(path: Path, split: str | None) -> Path:
    """The file itself, or the one of that split in the folder."""
    if not path.is_dir():
        return path
    files = sorted(f for f in path.iterdir() if f.suffix.lower() in SERIES_EXTENSIONS)
    fits = [f for f in files if split is None or f.stem.lower().endswith(split.lower())]
    if len(fits) == 1:
        return fits[0]
    names = ", ".join(f.name for f in (fits or files)) or "nothing of the kind"
    raise UserError(
        f"{'no' if not fits else 'more than one'} file of series"
        + (f" for split {split!r}" if split else ""),
        where=str(path),
        todo=f"Give the file, or a split; there is {names}.",
    )


def _with_classes(
    records: list[SeriesRecord],
    contents: SeriesContents,
    classes: Sequence[str] | None,
    path: Path,
) -> tuple[list[SeriesRecord], tuple[str, ...]]:
    """The records with strange labels marked, and the class names in order."""
    if classes is None:
        classes = contents.classes
    if classes is None:
        classes = class_order([r.label for r in records if r.label], None, str(path))
    names = class_order([], classes, str(path))
    known = set(names)
    marked = [
        record.spoiled(f"class {record.label} is not among the {len(names)} classes", "label")
        if record.problem is None and record.label not in known
        else record
        for record in records
    ]
    return marked, names


def _targets(records: list[SeriesRecord], task: str, names: tuple[str, ...]) -> dict[str, Any]:
    if task == "classification":
        number = {name: k for k, name in enumerate(names)}
        labels = [-1 if r.problem else number[str(r.label)] for r in records]
        return {"class_id": np.array(labels, dtype=np.int64)}
    if task != "regression":
        return {}
    if any(record.horizon is not None for record in records):
        empty = np.zeros(0, dtype=np.float32)
        return {"value": column_of([empty if r.horizon is None else r.horizon for r in records])}
    return {"value": [record.number for record in records]}


def _cut(record: SeriesRecord, horizon: int) -> SeriesRecord:
    """The record with its last values as what is to be forecast."""
    if record.problem is not None:
        return record
    if len(record.values) <= horizon:
        length = len(record.values)
        return record.spoiled(f"{length} values are too few for a horizon of {horizon}", "size")
    future = record.values[-horizon:]
    if np.isnan(future).any():
        return record.spoiled("a value that is to be forecast is missing")
    target = future[:, 0] if future.shape[1] == 1 else future
    return replace(record, values=record.values[:-horizon], horizon=target)
