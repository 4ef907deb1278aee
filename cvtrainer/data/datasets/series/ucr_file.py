"""The `.tsv` form of the UCR archive: a series a line, its class first, tabs between, no header.

Series that are shorter than the others end in NaN, which is cut off; NaN between values is missing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.table_columns import class_names
from cvtrainer.data.datasets.series.record import (
    NoNumberError,
    SeriesContents,
    SeriesRecord,
    source_lines,
    values_of,
)


def read_ucr(path: Path) -> SeriesContents:
    """What that file holds: one channel per series, classes by size where they are numbers."""
    lines = source_lines(path)
    if not lines or any("\t" not in text for _, text in lines[:1]):
        raise UserError(
            "no line begins with a class and a tab",
            where=str(path),
            todo="Tables with names of columns are read by SeriesTable.",
        )
    records = [_case(line, text) for line, text in lines]
    labels = sorted({record.label for record in records if record.label})
    return SeriesContents(records, tuple(class_names(labels, str(path))))


def _case(line: int, text: str) -> SeriesRecord:
    label, *rest = text.split("\t")
    record = SeriesRecord(str(line), label=label.strip())
    try:
        values = values_of(rest)
    except NoNumberError as error:
        return record.spoiled(str(error))
    known = np.flatnonzero(~np.isnan(values))
    if not len(known):
        return record.spoiled("a series without any value", "empty")
    return SeriesRecord(str(line), values[: known[-1] + 1, None], label=label.strip())
