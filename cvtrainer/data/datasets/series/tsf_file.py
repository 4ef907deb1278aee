"""The `.tsf` text form of series to forecast: attributes and values separated by colons.

Series are of unequal length; the header may say how many values are to be forecast. Attributes
are counted and passed over.
"""

from __future__ import annotations

from pathlib import Path

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.series.record import (
    NoNumberError,
    SeriesContents,
    SeriesRecord,
    source_lines,
    values_of,
)


def read_tsf(path: Path) -> SeriesContents:
    """What that file holds: one channel per series."""
    lines = source_lines(path)
    attributes = 0
    horizon: int | None = None
    for place, (line, text) in enumerate(lines):
        word, *values = text.split()
        if word.lower() == "@attribute":
            attributes += 1
        elif word.lower() == "@horizon" and values and values[0].isdigit():
            horizon = int(values[0])
        elif word.lower() == "@data":
            records = [_case(k, row, attributes) for k, row in lines[place + 1 :] if row[0] != "#"]
            return SeriesContents(records, horizon=horizon)
        elif not word.startswith(("#", "@")):
            raise UserError("values stand before @data", where=f"{path}:{line}")
    raise UserError("no @data line, so this is no .tsf file", where=str(path))


def _case(line: int, text: str, attributes: int) -> SeriesRecord:
    record = SeriesRecord(str(line))
    *given, series = text.split(":", maxsplit=attributes)
    if len(given) != attributes:
        return record.spoiled(f"{len(given)} attributes instead of {attributes}", "annotation")
    try:
        values = values_of(series.split(","))
    except NoNumberError as error:
        return record.spoiled(str(error))
    return SeriesRecord(str(line), values[:, None])
