"""Collects the objects of one picture after another into the columns of an index.

Lists grow in flat arrays, so that a million objects cost no Python objects. An annotation that
cannot be read becomes the fault of its picture, which is then a bad sample and no end of a run.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa


class Fault(NamedTuple):
    """Why the annotations of a picture cannot be used, and in which file that stands."""

    what: str
    file: str
    kind: str = "annotation"


class ObjectTable:
    """Pictures in order, each followed by its objects; `points` keypoints have a place in each."""

    def __init__(self, *, flags: Sequence[str] = (), points: int = 0) -> None:
        self._points = points
        self._paths: list[str] = []
        self._sizes: list[tuple[int | None, int | None]] = []
        self._faults: dict[int, Fault] = {}
        self._begins = array("q")
        self._boxes = array("f")
        self._labels = array("q")
        self._flags = {name: array("b") for name in flags}
        self._shapes: list[bytes | None] = []
        self._keypoints = array("f")

    def picture(self, path: str, *, width: Any = None, height: Any = None) -> None:
        """A new picture; sizes that are no positive numbers count as not given."""
        self._begins.append(len(self._labels))
        self._paths.append(path)
        self._sizes.append((_side(width), _side(height)))

    def fault(self, fault: Fault) -> None:
        """The annotations of the latest picture cannot be used; the first reason stays."""
        self._faults.setdefault(len(self._paths) - 1, fault)

    def object(
        self,
        box: Sequence[float],
        label: int,
        *,
        flags: Mapping[str, bool] | None = None,
        shape: bytes | None = None,
        keypoints: Sequence[float] = (),
    ) -> None:
        """An object of the latest picture: its box is xyxy, missing keypoints are zeros."""
        if len(box) != 4 or len(keypoints) > 3 * self._points or len(keypoints) % 3:
            raise ValueError(f"{len(box)} numbers of a box, {len(keypoints)} of keypoints")
        self._boxes.extend(box)
        self._labels.append(label)
        self._keypoints.extend([*keypoints, *[0.0] * (3 * self._points - len(keypoints))])
        for name, values in self._flags.items():
            values.append(bool(flags and flags.get(name)))
        self._shapes.append(shape)

    def columns(self) -> dict[str, Any]:
        """The columns; those that nothing has been said about are left out."""
        begins = np.append(np.asarray(self._begins, dtype=np.int64), len(self._labels))
        columns: dict[str, Any] = {
            "path": pa.array(self._paths, type=pa.large_string()),
            "boxes": ragged(begins * 4, np.asarray(self._boxes, dtype=np.float32)),
            "box_labels": ragged(begins, np.asarray(self._labels, dtype=np.int64)),
        }
        for place, name in enumerate(("width", "height")):
            sides = [size[place] for size in self._sizes]
            if any(side is not None for side in sides):
                columns[name] = pa.array(sides, type=pa.int32())
        for name, values in self._flags.items():
            columns[f"box_{name}"] = ragged(begins, np.asarray(values, dtype=np.int8))
        if any(shape is not None for shape in self._shapes):
            columns["shapes"] = ragged(begins, pa.array(self._shapes, type=pa.large_binary()))
        if self._points:
            numbers = np.asarray(self._keypoints, dtype=np.float32)
            columns["keypoints"] = ragged(begins * 3 * self._points, numbers)
        if self._faults:
            rows = [self._faults.get(row) for row in range(len(self._paths))]
            for part in Fault._fields:
                texts = [None if fault is None else getattr(fault, part) for fault in rows]
                columns[f"fault_{part}"] = pa.array(texts, type=pa.large_string())
        one = _only_class(begins, np.asarray(self._labels, dtype=np.int64), set(self._faults))
        if one is not None:
            columns["class_id"] = one
        return columns


def ragged(begins: Any, values: Any) -> pa.Array:
    """A column of lists: those between one begin and the next; the last begin is the end."""
    return pa.LargeListArray.from_arrays(pa.array(begins, type=pa.int64()), pa.array(values))


def _only_class(begins: Any, labels: Any, faulty: set[int]) -> Any:
    """The class of each picture where each has exactly one; -1 where its annotations are bad."""
    counts = np.diff(begins)
    good = np.ones(len(counts), dtype=bool)
    good[list(faulty)] = False
    if not good.any() or (counts[good] == 0).any():
        return None
    first = np.full(len(counts), -1, dtype=np.int64)
    first[good] = labels[begins[:-1][good]]
    same = (labels == np.repeat(first, counts)) | ~np.repeat(good, counts)
    return first if same.all() else None


def _side(value: Any) -> int | None:
    try:
        side = int(value)
    except (TypeError, ValueError):
        return None
    return side if side > 0 else None
