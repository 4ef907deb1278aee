"""Answers as files: a line of JSON each, or rows of a table with a column per value.

In a table each found object has a row of its own, and one that found nothing has one row with the
file's name alone; of several readings, each has its objects in columns of its own. Numbers have six
digits, which is what single precision holds.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from cvtrainer.telling.reading import WHOLE, Paths

_CORNERS = ("x1", "y1", "x2", "y2")
_OBJECTS = "objects"

Row = dict[str, Any]


def json_line(file: str, told: Mapping[str, Any]) -> str:
    """One answer, without the line's end; what is no number becomes null."""
    return json.dumps(plain({"file": file, **told}), ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """The same with numbers of six digits."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def rows_of(file: str, told: Mapping[str, Any], below: Paths = WHOLE) -> list[Row]:
    """The rows of one answer, whose objects stand at these places."""
    rest: Row = {"file": file}
    found: list[Row] = []
    for path in below:
        above = "".join(f"{name}." for name in path)
        part = plain(told_at(told, path))
        rest |= _flat({key: value for key, value in part.items() if key != _OBJECTS}, above)
        objects = part.get(_OBJECTS)
        if isinstance(objects, Sequence):
            found += [_flat(one, above) for one in objects]
    return [{**rest, **one} for one in found] or [rest]


def told_at(told: Mapping[str, Any], path: Sequence[str]) -> Mapping[str, Any]:
    """What the reading tells that stands there."""
    for name in path:
        told = told[name]
    return told


def table_text(rows: Sequence[Row]) -> str:
    """CSV with the columns of all rows, in the order in which they first occur."""
    columns = list(dict.fromkeys(name for row in rows for name in row)) or ["file"]
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def _flat(told: Mapping[str, Any], above: str = "") -> Row:
    """Nested values under dotted names; a list of mappings stays JSON in its cell."""
    row: Row = {}
    for key, value in told.items():
        name = f"{above}{key}"
        if isinstance(value, Mapping):
            row |= _flat(value, f"{name}.")
        elif key == "box" and isinstance(value, list) and len(value) == len(_CORNERS):
            row |= {f"{above}{corner}": part for corner, part in zip(_CORNERS, value, strict=True)}
        elif isinstance(value, list) and not any(isinstance(p, list | Mapping) for p in value):
            row |= {f"{name}.{number}": part for number, part in enumerate(value)}
        elif isinstance(value, list):
            row[name] = json.dumps(value, ensure_ascii=False)
        else:
            row[name] = value
    return row
