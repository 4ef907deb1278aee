"""Inputs that are no arrays: rows of a table by the names of its columns, texts, whole samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.table_reading import Reading, read_table
from cvtrainer.data.datasets.reading.text_files import decode_text, lines_of
from cvtrainer.data.sample import BadSample

TABLE_EXTENSIONS = (".csv", ".tsv", ".xlsx", ".json", ".jsonl", ".parquet", ".arrow", ".feather")

Fields = dict[str, Any]
"""The input field and what else the network takes, as the data set would give them."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table the run was trained on, in their order."""

    inputs: tuple[str, ...]
    categories: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: Mapping[str, Any]) -> Columns | None:
        """Those that the config's table names; None where it is no table or names no inputs."""
        given = (dataset.get("kwargs") or {}).get("columns") or {}
        if not str(dataset.get("type", "")).endswith(":Table") or "inputs" not in given:
            return None
        return cls(_names(given["inputs"]), _names(given.get("categories") or ()))

    def fields(self, row: Mapping[str, Any], name: str, field: str) -> Fields:
        """The fields of a row; what is missing in it must at least be named."""
        lacking = [column for column in (*self.inputs, *self.categories) if column not in row]
        if lacking:
            raise BadSample(
                f"the row has no {lacking[0]}",
                kind="value",
                where=name,
                todo=f"Give {', '.join((*self.inputs, *self.categories))}; None where unknown.",
            )
        fields: Fields = {field: [_number(row[column], column, name) for column in self.inputs]}
        if self.categories:
            fields["categories"] = [_text(row[column]) for column in self.categories]
        return fields


def table_rows(file: str) -> Iterator[Mapping[str, Any]]:
    """The rows of a table file."""
    yield from read_table(Path(file), Reading()).to_pylist()


def text_lines(file: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers."""
    text = decode_text(Path(file).read_bytes(), file, None)
    for number, line in enumerate(lines_of(text), start=1):
        if line.strip():
            yield number, line


def _names(given: Any) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(str(name) for name in given)


def _number(cell: Any, column: str, name: str) -> float:
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return math.nan
    try:
        return float(cell)
    except (TypeError, ValueError):
        raise BadSample(
            f"{column} is {cell!r}, which is no number", kind="value", where=name
        ) from None


def _text(cell: Any) -> str | None:
    return None if cell is None else str(cell)


def whole_sample(given: Mapping[str, Any], field: str) -> Fields:
    """A mapping from the names of fields to their values."""
    if field not in given:
        raise UserError(
            f"the mapping has no {field}, but {', '.join(map(str, given))}",
            todo=f"Give the fields of a sample, {field} among them; or, of a table whose config "
            "names columns: {inputs: [...]}, a row.",
        )
    return dict(given)
