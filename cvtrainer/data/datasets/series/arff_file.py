"""The `.arff` form of labelled series: numeric attributes in order of time, the class last.

Several channels stand in one relational attribute: a quoted text with a line (written as `\\n`)
per channel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.series.record import (
    NoNumberError,
    SeriesContents,
    SeriesRecord,
    source_lines,
    values_of,
)

_ATTRIBUTE = re.compile(r"@attribute\s+('[^']*'|\"[^\"]*\"|\S+)\s+(.*)", re.IGNORECASE)
_FIELD = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"|([^,]+)|(?<=,)(?=,|$)")
_NUMBERS = ("numeric", "real", "integer")


@dataclass(frozen=True)
class _Header:
    values: int
    """Numeric attributes before the last one; a relational one counts as one."""
    relational: bool
    classes: tuple[str, ...] | None
    has_numbers: bool


def read_arff(path: Path, *, number_last: bool = False) -> SeriesContents:
    """What that file holds; `number_last` takes a numeric last attribute as what to predict."""
    lines = source_lines(path)
    attributes, start = _attributes(lines, path)
    header = _header(attributes, path, number_last)
    records = [_case(line, text, header) for line, text in lines[start:] if text[0] != "%"]
    return SeriesContents(records, classes=header.classes, has_numbers=header.has_numbers)


def _attributes(lines: Sequence[tuple[int, str]], path: Path) -> tuple[list[str], int]:
    """The types of the attributes, and the place of the first case."""
    types: list[str] = []
    inside = False
    for place, (_, text) in enumerate(lines):
        word = text.lower()
        if word.startswith("@data"):
            return types, place + 1
        if word.startswith("@end"):
            inside = False
            continue
        attribute = _ATTRIBUTE.match(text)
        if attribute and not inside:
            types.append(attribute[2].strip())
            inside = types[-1].lower() == "relational"
    raise UserError("no @data line, so this is no .arff file", where=str(path))


def _header(types: list[str], path: Path, number_last: bool) -> _Header:
    classes: tuple[str, ...] | None = None
    inputs = types
    if types and types[-1].startswith("{"):
        names = types[-1].strip("{} ").split(",")
        classes = tuple(name.strip().strip("'\"") for name in names)
        inputs = types[:-1]
    elif number_last:
        inputs = types[:-1]
    relational = [kind.lower() == "relational" for kind in inputs]
    strange = [
        kind
        for kind, nested in zip(inputs, relational, strict=True)
        if not nested and kind.lower() not in _NUMBERS
    ]
    if not inputs or strange or (any(relational) and len(inputs) > 1):
        what = f"an attribute of type {strange[0]}" if strange else "no series of numbers"
        raise UserError(f"{what}, which is no value of a series", where=str(path))
    return _Header(len(inputs), any(relational), classes, number_last and classes is None)


def _case(line: int, text: str, header: _Header) -> SeriesRecord:
    record = SeriesRecord(str(line))
    if text.startswith("{"):
        return record.spoiled("the sparse form is not read", "annotation")
    fields = [a or b or c for a, b, c in _FIELD.findall(text)]
    labelled = header.classes is not None or header.has_numbers
    if len(fields) != header.values + labelled:
        wanted = header.values + labelled
        return record.spoiled(f"{len(fields)} values instead of {wanted}", "size")
    last = fields.pop().strip() if labelled else None
    try:
        rows = re.split(r"\\n|\n", fields[0]) if header.relational else [",".join(fields)]
        channels = [values_of(row.split(",")) for row in rows if row.strip()]
        number = float(values_of([last])[0]) if header.has_numbers and last else None
    except NoNumberError as error:
        return record.spoiled(str(error))
    lengths = {len(channel) for channel in channels}
    if len(lengths) != 1:
        return record.spoiled("channels of unequal length", "size")
    label = None if header.has_numbers else last
    return SeriesRecord(str(line), np.stack(channels, axis=1), label=label, number=number)
