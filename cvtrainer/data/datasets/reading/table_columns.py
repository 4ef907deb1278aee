"""From the columns of a table to those of an index: class numbers, vectors, boxes, key points.

All of it is done column by column in Arrow and numpy, so that ten million rows are a matter of
seconds. A cell that is missing or wrong stays in the index and makes its sample a bad one.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError

UNKNOWN = -1
"""The class number of a row whose label is missing or not among the classes."""

_LIST_SEPARATORS = "|;, "


class Encoding(NamedTuple):
    """Class numbers, and the class names in the order of their numbers."""

    numbers: Any
    names: list[str]


def class_names(found: Sequence[str], where: str) -> list[str]:
    """The names of those labels in order: whole numbers by size, anything else by letters."""
    if not found:
        raise UserError("no row has a label", where=where)
    if all(name.lstrip("-").isdigit() and str(int(name)) == name for name in found):
        return [str(number) for number in sorted(int(name) for name in found)]
    return sorted(found)


def encode(labels: pa.ChunkedArray, classes: Sequence[str] | None, where: str) -> Encoding:
    """Texts as class numbers; `classes` fixes the order, and then names or numbers may stand."""
    if pa.types.is_nested(labels.type):
        raise UserError(f"a column of labels holds {labels.type}, not names", where=where)
    coded = _one(pc.utf8_trim_whitespace(labels.cast(pa.large_string()))).dictionary_encode()
    found: list[str] = coded.dictionary.to_pylist()
    present = [name for name in found if name]
    names = [str(n) for n in classes] if classes is not None else class_names(present, where)
    if len(set(names)) != len(names):
        raise UserError("`classes` names a class twice", where=where)
    numbers = {name: k for k, name in enumerate(names)}
    if classes is not None and not any(name in numbers for name in present):
        numbers = {str(k): k for k in range(len(names))}
        if present and not any(name in numbers for name in present):
            raise UserError(
                f"no label is among the {len(names)} classes; the first is {present[0]!r}",
                where=where,
                todo="Correct `classes`, or choose another column.",
            )
    table = np.asarray([numbers.get(name, UNKNOWN) for name in found] + [UNKNOWN], dtype=np.int64)
    codes = coded.indices.fill_null(len(found)).to_numpy(zero_copy_only=False)
    return Encoding(table[codes], names)


def encode_lists(
    cells: pa.ChunkedArray, classes: Sequence[str] | None, separator: str | None, where: str
) -> Encoding:
    """Cells with several labels each: lists, or texts with a separator."""
    column = _one(cells)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.cast(pa.large_string())
        bare = _without_brackets(column)
        column = _split_texts(column, separator) if bare is None else _split_texts(bare, ",")
    counts = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    texts = pc.utf8_trim_whitespace(column.flatten().cast(pa.large_string()))
    filled = pc.not_equal(texts, "").fill_null(True)
    if filled.false_count:
        kept = filled.to_numpy(zero_copy_only=False)
        rows = np.repeat(np.arange(len(counts)), counts)
        counts, texts = np.bincount(rows[kept], minlength=len(counts)), texts.filter(filled)
    flat = encode(pa.chunked_array([texts]), classes, where)
    return Encoding(lists(flat.numbers, counts, column.is_null()), flat.names)


def encode_flags(
    table: pa.Table,
    names: Sequence[str],
    where: str,
    classes: Sequence[str] | None = None,
    *,
    single: bool = False,
) -> Encoding:
    """One column of 0 and 1 (or -1 and 1) per class; where it is `single`, each row has one."""
    if classes is not None:
        lacking = [name for name in names if name not in classes]
        if lacking or len(classes) != len(names):
            raise UserError(
                f"`classes` are not the names of the {len(names)} columns of labels", where=where
            )
        names = [str(name) for name in classes]
    flags = numbers_of(table, names, where)
    if np.isin(flags, (-1, 1)).all():
        flags = (flags > 0).astype(np.float64)
    rows, numbers = np.nonzero(flags == 1)
    counts = np.bincount(rows, minlength=len(flags))
    if not np.isin(flags, (0, 1)).all():
        raise UserError(f"{', '.join(names[:3])} hold more than 0 and 1", where=where)
    if not single:
        return Encoding(lists(numbers.astype(np.int64), counts, None), list(names))
    if (counts > 1).any():
        raise UserError(
            f"row {int(np.flatnonzero(counts > 1)[0]) + 1} has {counts.max()} classes",
            where=where,
            todo="Say task: multilabel, with columns: {labels: [...]}.",
        )
    return Encoding(np.where(counts == 1, flags.argmax(axis=1), UNKNOWN), list(names))


def numbers_of(table: pa.Table, names: Sequence[str], where: str) -> NDArray[np.float64]:
    """Columns of numbers side by side, NaN where a cell is empty."""
    found = np.empty((len(table), len(names)), dtype=np.float64)
    for place, name in enumerate(names):
        column = table.column(name)
        try:
            cells = column.cast(pa.float64(), safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            row, text = _first_no_number(column)
            raise UserError(
                f"column {name} holds {text!r} in row {row}, which is no number",
                where=where,
                todo=_remedy(text),
            ) from error
        found[:, place] = cells.fill_null(np.nan).to_numpy()
    return found


def texts_of(table: pa.Table, names: Sequence[str]) -> pa.Array:
    """Columns of names side by side, a list for each row; an empty cell is no name."""
    columns = []
    for name in names:
        cells = pc.utf8_trim_whitespace(_one(table.column(name).cast(pa.large_string())))
        columns.append(pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.large_string()), cells))
    order = np.arange(len(names) * len(table)).reshape(len(names), len(table)).T.reshape(-1)
    return pa.FixedSizeListArray.from_arrays(
        pa.concat_arrays(columns).take(pa.array(order)), len(names)
    )


def vectors(values: NDArray[np.float64]) -> pa.Array:
    """Rows of numbers as a column of float32 vectors."""
    flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), values.shape[1])


def file_names(table: pa.Table, column: str, where: str) -> pa.Array:
    """Paths of files; `{id}.jpg` makes them from other columns."""
    if "{" in column:
        cells = _from_template(table, column, where)
    else:
        cells = _one(table.column(column).cast(pa.large_string()))
    cells = pc.utf8_trim_whitespace(cells)
    if pc.any(pc.match_substring(cells, "\\")).as_py():
        cells = pc.replace_substring(cells, "\\", "/")
    return pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.large_string()), cells)


class Boxes(NamedTuple):
    """Rows of a table with one box each, brought together by picture."""

    first_rows: NDArray[np.int64]
    boxes: pa.Array
    box_labels: pa.Array


def boxes_by_file(paths: pa.Array, boxes: NDArray[np.float64], labels: NDArray[np.int64]) -> Boxes:
    """One row per file in order of appearance; a row without numbers is a picture without boxes."""
    codes = paths.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    _, starts = np.unique(codes[order], return_index=True)
    first_rows = order[starts].astype(np.int64)
    filled = ~np.isnan(boxes[order]).all(axis=1)
    places = np.repeat(np.arange(len(starts)), np.diff([*starts, len(order)]))
    counts = np.bincount(places[filled], minlength=len(starts))
    kept = order[filled]
    flat = boxes[kept].astype(np.float32).reshape(-1)
    return Boxes(first_rows, lists(flat, counts * 4, None), lists(labels[kept], counts, None))


def as_corners(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corner, width and height as two corners."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]], axis=1)


def lists(values: NDArray[Any], lengths: NDArray[Any], empty: pa.Array | None) -> pa.Array:
    """A column of lists: values one after the other, how many each row has, which have none."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    mask = empty if empty is not None and empty.true_count else None
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values), mask=mask)


def _without_brackets(column: pa.Array) -> pa.Array | None:
    """Lists that were written as text, `['a', 'b']`, with commas alone; None for other texts."""
    cells = pc.utf8_trim_whitespace(column)
    if not pc.all(pc.match_substring_regex(cells, r"^\[.*\]$")).as_py():
        return None
    inner = pc.utf8_slice_codeunits(cells, 1, -1)
    inner = pc.replace_substring_regex(inner, r"""(^|,)\s*["']""", r"\1")
    return pc.replace_substring_regex(inner, r"""["']\s*(,|$)""", r"\1")


def _split_texts(column: pa.Array, separator: str | None) -> pa.Array:
    if separator is None:
        held = [s for s in _LIST_SEPARATORS if pc.any(pc.match_substring(column, s)).as_py()]
        separator = held[0] if held else "|"
    empty = pc.equal(pc.utf8_trim_whitespace(column), "")
    cells = pc.split_pattern(pc.utf8_trim_whitespace(column), separator)
    nothing = pa.scalar([], cells.type)
    return pc.if_else(empty.fill_null(False), nothing, cells)


def _from_template(table: pa.Table, template: str, where: str) -> pa.Array:
    parts: list[Any] = []
    for literal, name, _, _ in string.Formatter().parse(template):
        parts.append(pa.scalar(literal, pa.large_string()))
        if name is not None:
            if name not in table.column_names:
                raise UserError(
                    f"no column {name!r} for {template}",
                    where=where,
                    todo=f"There is {', '.join(table.column_names)}.",
                )
            parts.append(table.column(name).cast(pa.large_string()))
    return _one(pc.binary_join_element_wise(*parts, pa.scalar("", pa.large_string())))


def _remedy(text: Any) -> str:
    if isinstance(text, str) and text.count(",") == 1:
        return 'If that is a decimal comma, say read: {decimal: ","}.'
    return "Correct the cell, or leave the column out."


def _first_no_number(column: pa.ChunkedArray) -> tuple[int, Any]:
    for row, value in enumerate(column.to_pylist(), 1):
        try:
            float(value if value is not None else 0)
        except (TypeError, ValueError):
            return row, value
    return 1, column[0].as_py()


def _one(column: Any) -> pa.Array:
    """A column in one block."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    found = column.combine_chunks()
    if isinstance(found, pa.ChunkedArray):
        return found.chunk(0) if found.num_chunks else pa.array([], found.type)
    return found
