"""Builds the index of a table whose columns have their roles: inputs, targets, groups, splits.

What stays behind in the table (arrays, whole files as bytes) is named in `cells` and read from
there; everything else becomes a column of the index.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.table_columns import (
    as_corners,
    boxes_by_file,
    encode,
    encode_flags,
    encode_lists,
    file_names,
    lists,
    numbers_of,
    texts_of,
    vectors,
)
from cvtrainer.data.datasets.reading.table_roles import Roles, holds_bytes, is_list

Missing = Literal["bad", "mean", "zero", "keep"]


@dataclass
class Built:
    """Columns of an index, its classes, and the column of the table that stays there."""

    columns: dict[str, Any]
    classes: list[str] = field(default_factory=list)
    cells: str = ""


@dataclass(frozen=True)
class Wishes:
    """What the user says about the values."""

    classes: Sequence[str] | None = None
    missing: Missing = "bad"
    label_separator: str | None = None


def build(table: pa.Table, roles: Roles, wishes: Wishes, where: str) -> Built:
    """The index of that table for its task, one row per sample."""
    built = Built({})
    _add_input(built, table, roles, wishes, where)
    if roles.get("categories"):
        built.columns["categories"] = texts_of(table, roles.get("categories"))
    for role in ("group", "split"):
        for name in roles.get(role):
            built.columns[role] = table.column(name).cast(pa.large_string())
    for role in ("width", "height"):
        for name in roles.get(role):
            built.columns[role] = table.column(name).cast(pa.int64(), safe=False)
    adder = _TARGETS.get(roles.task)
    if adder is not None:
        adder(built, table, roles, wishes, where)
    if "path" not in built.columns:
        built.columns["row"] = np.arange(len(table), dtype=np.int64)
    return built


def _add_input(built: Built, table: pa.Table, roles: Roles, wishes: Wishes, where: str) -> None:
    for name in roles.get("image"):
        if name in table.column_names and holds_bytes(table.schema.field(name).type):
            built.cells = name
        else:
            built.columns["path"] = file_names(table, name, where)
    for name in roles.get("text"):
        built.columns["text"] = table.column(name).cast(pa.large_string())
    names = roles.get("inputs")
    if not names:
        return
    if len(names) == 1 and is_list(table.schema.field(names[0]).type):
        built.cells = names[0]
        return
    values = numbers_of(table, names, where)
    built.columns["inputs"] = vectors(_filled(values, names, wishes.missing, where))


def _filled(
    values: NDArray[np.float64], names: Sequence[str], missing: Missing, where: str
) -> NDArray[np.float64]:
    """Empty cells as the mean of their column over the whole table, as zero, or left empty."""
    if missing in ("bad", "keep"):
        return values
    empty = np.isnan(values)
    if missing == "zero":
        return np.where(empty, 0.0, values)
    if empty.all(axis=0).any():
        name = names[int(np.flatnonzero(empty.all(axis=0))[0])]
        raise UserError(f"column {name} has no value, so it has no mean", where=where)
    return np.where(empty, np.nanmean(values, axis=0), values)


def _add_class(built: Built, table: pa.Table, roles: Roles, wishes: Wishes, where: str) -> None:
    names = roles.get("labels") if not roles.get("label") else _some(roles, "label", where)
    if len(names) > 1:
        found = encode_flags(table, names, where, wishes.classes, single=True)
    else:
        found = encode(
            table.column((names or _some(roles, "label", where))[0]), wishes.classes, where
        )
    built.columns["class_id"] = found.numbers
    built.classes = found.names


def _add_classes(built: Built, table: pa.Table, roles: Roles, wishes: Wishes, where: str) -> None:
    names = _some(roles, "labels", where)
    if len(names) > 1:
        found = encode_flags(table, names, where, wishes.classes)
    else:
        column = table.column(names[0])
        found = encode_lists(column, wishes.classes, wishes.label_separator, where)
    built.columns["class_ids"] = found.numbers
    built.classes = found.names


def _add_value(built: Built, table: pa.Table, roles: Roles, wishes: Wishes, where: str) -> None:
    names = _some(roles, "value", where)
    if len(names) == 1 and is_list(table.schema.field(names[0]).type):
        built.columns["value"] = table.column(names[0])
        return
    values = numbers_of(table, names, where)
    built.columns["value"] = values[:, 0].copy() if len(names) == 1 else vectors(values)


def _add_boxes(built: Built, table: pa.Table, roles: Roles, wishes: Wishes, where: str) -> None:
    names = roles.get("boxes") or _some(roles, "boxes_xywh", where)
    as_sides = not roles.get("boxes")
    if len(names) == 4:
        values = numbers_of(table, names, where)
        _add_single_boxes(
            built, table, roles, wishes, as_corners(values) if as_sides else values, where
        )
        return
    if len(names) != 1 or not is_list(table.schema.field(names[0]).type):
        raise UserError("boxes are four columns of numbers, or one of lists", where=where)
    cells = [_box_rows(cell, as_sides) for cell in table.column(names[0]).to_pylist()]
    built.columns["boxes"] = pa.array(cells, pa.large_list(pa.float32()))
    given = roles.get("box_labels")
    if given:
        found = encode_lists(table.column(given[0]), wishes.classes, None, where)
        built.columns["box_labels"], built.classes = found
        return
    built.classes = _one_class(wishes, where)
    zeros = [None if cell is None else [0] * (len(cell) // 4) for cell in cells]
    built.columns["box_labels"] = pa.array(zeros, pa.large_list(pa.int64()))


def _add_single_boxes(
    built: Built,
    table: pa.Table,
    roles: Roles,
    wishes: Wishes,
    boxes: NDArray[np.float64],
    where: str,
) -> None:
    """A row per box: the rows of one picture become one sample."""
    if "path" not in built.columns:
        raise UserError("a table with a box per row needs a column of image paths", where=where)
    given = roles.get("box_labels")
    if given:
        numbers, built.classes = encode(table.column(given[0]), wishes.classes, where)
    else:
        numbers, built.classes = np.zeros(len(table), dtype=np.int64), _one_class(wishes, where)
    found = boxes_by_file(built.columns["path"], boxes, numbers)
    rows = pa.array(found.first_rows)
    for name, column in built.columns.items():
        built.columns[name] = column.take(rows)
    built.columns["boxes"] = found.boxes
    built.columns["box_labels"] = found.box_labels


def _box_rows(cell: Any, as_sides: bool) -> Any:
    """The numbers of the boxes one after the other; None where they are no boxes."""
    if cell is None:
        return None
    try:
        boxes = np.asarray(cell, dtype=np.float64).reshape(-1, 4)
    except (ValueError, TypeError):
        return None
    return (as_corners(boxes) if as_sides else boxes).reshape(-1).tolist()


def _one_class(wishes: Wishes, where: str) -> list[str]:
    if wishes.classes is None:
        return ["object"]
    if len(wishes.classes) != 1:
        raise UserError("boxes have no column of classes", where=where)
    return list(wishes.classes)


def _add_points(built: Built, table: pa.Table, roles: Roles, wishes: Wishes, where: str) -> None:
    names = _some(roles, "keypoints", where)
    if len(names) == 1:
        cells = [_point_rows(cell) for cell in table.column(names[0]).to_pylist()]
        built.columns["keypoints"] = pa.array(cells, pa.large_list(pa.float32()))
        return
    values = numbers_of(table, names, where)
    if len(names) % 3 == 0 and all("v" in name.lower() for name in names[2::3]):
        points = values.reshape(len(table), -1, 3)
    elif len(names) % 2 == 0:
        pairs = values.reshape(len(table), -1, 2)
        points = np.concatenate([pairs, np.full((*pairs.shape[:2], 1), 2.0)], axis=2)
    else:
        raise UserError(
            f"{len(names)} columns are no key points",
            where=where,
            todo="Give x and y of each point, or x, y and visibility.",
        )
    points[np.isnan(points).any(axis=2)] = 0.0
    built.columns["keypoints"] = lists(
        points.astype(np.float32).reshape(-1),
        np.full(len(table), points.shape[1] * 3),
        None,
    )


def _point_rows(cell: Any) -> Any:
    if cell is None:
        return None
    try:
        points = np.asarray(cell, dtype=np.float64)
        if points.ndim == 1:
            points = points.reshape(-1, 3 if len(points) % 3 == 0 else 2)
        if points.shape[1] == 2:
            points = np.concatenate([points, np.full((len(points), 1), 2.0)], axis=1)
        return points.reshape(-1, 3).reshape(-1).tolist()
    except (ValueError, TypeError, IndexError):
        return None


def _add_mask(built: Built, table: pa.Table, roles: Roles, wishes: Wishes, where: str) -> None:
    (name,) = _some(roles, "mask", where)
    built.columns["mask"] = file_names(table, name, where)
    built.classes = list(wishes.classes or ())


def _some(roles: Roles, role: str, where: str) -> tuple[str, ...]:
    names = roles.get(role)
    if not names:
        raise UserError(
            f"task {roles.task} needs a column, which is not given",
            where=where,
            todo=f"Say columns: {{{role}: ...}}.",
        )
    return names


def rows_of_split(column: Any, split: str, where: str) -> NDArray[np.int64]:
    """The rows whose cell names that part; an error that lists the parts there are."""
    cells = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    chosen = pc.equal(cells, split.strip().lower()).fill_null(False)
    rows = np.flatnonzero(chosen.to_numpy(zero_copy_only=False))
    if not len(rows):
        found = sorted(str(v) for v in pc.unique(column).to_pylist() if v is not None)
        raise UserError(
            f"no row belongs to split {split!r}",
            where=where,
            todo=f"There is {', '.join(found[:10])}.",
        )
    return rows


_Adder = Callable[[Built, pa.Table, Roles, Wishes, str], None]

_TARGETS: dict[str, _Adder] = {
    "classification": _add_class,
    "multilabel": _add_classes,
    "regression": _add_value,
    "detection": _add_boxes,
    "keypoints": _add_points,
    "segmentation": _add_mask,
}
