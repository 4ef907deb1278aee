"""Answers as files: a line of JSON each, or rows of a table with a column per value.

In a table each found object has a row of its own, and one that found nothing has one row with the
file's name alone. Numbers have six digits, which is what single precision holds.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

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


def rows_of(file: str, told: Mapping[str, Any]) -> list[Row]:
    """The rows of one answer."""
    told = plain(told)
    rest = _flat({key: value for key, value in told.items() if key != _OBJECTS})
    objects = told.get(_OBJECTS)
    if not isinstance(objects, Sequence) or not objects:
        return [{"file": file, **rest}]
    return [{"file": file, **rest, **_flat(one)} for one in objects]


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
