"""A data set in one file of arrays, or a folder of them: npz, npy, IDX, HDF5, trusted pickles.

Inputs stay in their file and are read row by row; targets become the index. How files are opened
is array_sources' business, which array is which array_names'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.array_names import choose_arrays
from cvtrainer.data.datasets.reading.array_sources import LazyArrays
from cvtrainer.data.datasets.reading.table_columns import UNKNOWN, encode, lists, vectors
from cvtrainer.data.datasets.stored import StoredDataset
from cvtrainer.data.decode import to_rgb
from cvtrainer.data.index import Index
from cvtrainer.data.sample import BadSample

_LAYOUTS = ("HW", "HWC", "CHW", "vector", "TC", "CT")
_PLANES = (1, 3, 4)


class ArrayFile(StoredDataset):
    """Samples of arrays: images as height x width x planes, vectors and series as float32.

    `keys` names the arrays: x, y, masks, keypoints, group, class_names; left out, names decide.
    `split` picks `x_train` or `t10k-images`. `labels` is another file with y. `layout` says what a
    row of x is: HW, HWC, CHW, vector, TC or CT (series). Pickles only with `trust_pickle: true`.
    """

    def __init__(
        self,
        data_path: str | Path,
        *,
        split: str | None = None,
        task: str | None = None,
        keys: Mapping[str, str] | None = None,
        labels: str | Path | None = None,
        layout: str | None = None,
        classes: Sequence[str] | None = None,
        trust_pickle: bool = False,
    ) -> None:
        self.array_file = Path(data_path)
        self._where = str(self.array_file)
        self._source = LazyArrays(self.array_file, trust_pickle=trust_pickle)
        arrays = self._source.arrays()
        chosen = choose_arrays(arrays, dict(keys or {}), split, self._where)
        self._x = chosen["x"]
        inputs = arrays[self._x]
        if not len(inputs):
            raise UserError(f"{self._x} has no rows", where=self._where)
        self.layout = layout or _seen_layout(inputs, self._x, self._where)
        if self.layout not in _LAYOUTS:
            raise UserError(
                f"layout: {layout!r}", where=self._where, todo=f"Use {', '.join(_LAYOUTS)}."
            )
        beside = Path(labels) if labels is not None else _labels_beside(self.array_file)
        self._targets = LazyArrays(beside, trust_pickle=trust_pickle) if beside else self._source
        if beside:
            chosen["y"] = _only_target(self._targets.arrays(), split, str(beside))
        sought = ("y",) if beside else ("masks", "keypoints", "y")
        self._target_names = {k: chosen[k] for k in sought if k in chosen}
        self._check_lengths(len(inputs))
        found = task or self._task(inputs)
        columns, names = self._columns(found, classes, chosen, len(inputs))
        self.evidence: tuple[str, ...] = (
            f"x: {self._x} {tuple(inputs.shape)} {inputs.dtype}, each row {self.layout}",
            *(f"{purpose}: {name}" for purpose, name in chosen.items() if purpose != "x"),
        )
        super().__init__(
            Index.of({"row": np.arange(len(inputs), dtype=np.int64), **columns}),
            root=self.array_file,
            task=found,
            classes=names,
            possible=(*columns, *(("mask",) if self._mask_name else ())),
        )

    def file(self, row: int) -> str:
        """The file and the number of the row in it, from 0."""
        return f"{self.array_file}[{row}]"

    def input(self, row: int) -> Any:
        """The picture, vector or series of that row."""
        value = np.array(self._source.arrays()[self._x][row])
        if self.layout in ("vector", "TC", "CT"):
            found = value.astype(np.float32)
            if not np.isfinite(found).all():
                raise BadSample("x is not a number", kind="value", where=self.file(row))
            return found.T.copy() if self.layout == "CT" else found
        if self.layout == "HW":
            value = value[:, :, None]
        elif self.layout == "CHW":
            value = np.ascontiguousarray(value.transpose(1, 2, 0))
        return self._pixels(value, row)

    def field(self, name: str, row: int) -> Any:
        """A target field of that row."""
        if name == "mask":
            assert self._mask_name is not None
            mask = np.array(self._targets.arrays()[self._mask_name][row])
            if mask.ndim != 2 or mask.min(initial=0) < 0 or mask.max(initial=0) > 255:
                raise BadSample(
                    "the mask is no table of class numbers from 0 to 255",
                    kind="annotation",
                    where=self.file(row),
                )
            return mask.astype(np.uint8)
        value = super().field(name, row)
        if name in ("value", "keypoints") and not np.isfinite(value).all():
            raise BadSample(f"{name} is not a number", kind="value", where=self.file(row))
        return value

    @property
    def _mask_name(self) -> str | None:
        return self._target_names.get("masks", self._target_names.get("y"))

    def _pixels(self, value: Any, row: int) -> Any:
        """Whole numbers as uint8, 65535 as 255; colours with transparency lie on white."""
        if value.dtype == np.uint16:
            value = np.rint(value / 257.0).astype(np.uint8)
        elif value.dtype == np.bool_:
            value = value.astype(np.uint8) * 255
        elif value.dtype.kind in "iu" and value.dtype != np.uint8:
            if value.min(initial=0) < 0 or value.max(initial=0) > 255:
                raise BadSample("pixels outside of 0 to 255", kind="value", where=self.file(row))
            value = value.astype(np.uint8)
        elif value.dtype.kind == "f":
            value = value.astype(np.float32)
            if not np.isfinite(value).all():
                raise BadSample("pixels are not numbers", kind="value", where=self.file(row))
        if value.dtype == np.uint8 and value.shape[2] == 4:
            return to_rgb(Image.fromarray(value))
        return value

    def _check_lengths(self, count: int) -> None:
        for name in self._target_names.values():
            length = len(self._targets.arrays()[name])
            if length != count:
                raise UserError(
                    f"{self._x} has {count} rows, but {name} has {length}", where=self._where
                )

    def _task(self, inputs: Any) -> str:
        """The task that the targets are for."""
        if "masks" in self._target_names:
            return "segmentation"
        if "keypoints" in self._target_names:
            return "keypoints"
        if "y" not in self._target_names:
            return "generation"
        target = self._targets.arrays()[self._target_names["y"]]
        shape, kind = _squeezed(target.shape), target.dtype.kind
        if len(shape) == 1:
            return "regression" if kind == "f" else "classification"
        if len(shape) == 2 and kind == "f":
            return "regression"
        if len(shape) == 2 and kind in "iub":
            flags = np.asarray(target)
            if np.isin(flags, (0, 1)).all():
                alone = (flags.sum(axis=1) == 1).all()
                return "classification" if alone else "multilabel"
        if (
            len(shape) == 3
            and kind in "iub"
            and shape == inputs.shape[:1] + _plane(inputs.shape, self.layout)
        ):
            return "segmentation"
        raise UserError(
            f"{self._target_names['y']} of shape {tuple(target.shape)} may be several things",
            where=self._where,
            todo="Say task: multilabel, regression, keypoints or segmentation.",
        )

    def _columns(
        self, task: str, classes: Sequence[str] | None, chosen: Mapping[str, str], count: int
    ) -> tuple[dict[str, Any], list[str]]:
        columns: dict[str, Any] = {}
        arrays = self._targets.arrays()
        if "group" in chosen:
            groups = np.asarray(self._source.arrays()[chosen["group"]])
            columns["group"] = [str(_text(value)) for value in groups.tolist()]
        known = list(classes) if classes is not None else self._class_names(chosen)
        if task == "keypoints" and ("keypoints" in self._target_names or "y" in self._target_names):
            name = self._target_names.get("keypoints") or self._target_names["y"]
            columns["keypoints"] = _points(np.asarray(arrays[name]), name, self._where)
        if "y" not in self._target_names or task in ("keypoints", "segmentation", "generation"):
            return columns, known or []
        target = np.asarray(arrays[self._target_names["y"]])
        target = target.reshape(_squeezed(target.shape))
        if task == "regression":
            if target.dtype.kind not in "iufb" or target.ndim > 2:
                raise UserError("values must be numbers, one or a row each", where=self._where)
            values = target.astype(np.float64)
            columns["value"] = values if values.ndim == 1 else vectors(values)
            return columns, known or []
        if task == "multilabel":
            rows, numbers = np.nonzero(target.reshape(count, -1))
            columns["class_ids"] = lists(
                numbers.astype(np.int64), np.bincount(rows, minlength=count), None
            )
            return columns, known or [str(k) for k in range(target.reshape(count, -1).shape[1])]
        if task == "classification":
            columns["class_id"], names = _class_numbers(target, known, self._where)
            return columns, names
        return columns, known or []

    def _class_names(self, chosen: Mapping[str, str]) -> list[str] | None:
        if "class_names" not in chosen:
            return None
        names = np.asarray(self._source.arrays()[chosen["class_names"]]).reshape(-1)
        return [str(_text(name)) for name in names.tolist()]


def _class_numbers(target: Any, known: list[str] | None, where: str) -> tuple[Any, list[str]]:
    if target.ndim == 2:
        counts = (target == 1).sum(axis=1)
        if np.isin(target, (0, 1)).all() and (counts > 1).any():
            raise UserError(
                f"row {int(np.flatnonzero(counts > 1)[0])} has {counts.max()} classes",
                where=where,
                todo="Say task: multilabel.",
            )
        names = known or [str(k) for k in range(target.shape[1])]
        return np.where(target.any(axis=1), target.argmax(axis=1), UNKNOWN), names
    if target.dtype.kind in "OUS":
        texts = [str(_text(value)) for value in target.tolist()]
        found = encode(pa.chunked_array([pa.array(texts, pa.large_string())]), known, where)
        return found.numbers, found.names
    if target.dtype.kind == "f" and not (target == np.rint(target)).all():
        raise UserError(
            "class numbers must be whole", where=where, todo="Say task: regression for values."
        )
    numbers = target.astype(np.int64)
    return numbers, known or [str(k) for k in range(int(numbers.max()) + 1)]


def _points(points: Any, name: str, where: str) -> pa.Array:
    if points.ndim == 2 and points.shape[1] % 2 == 0:
        points = points.reshape(len(points), -1, 2)
    if points.ndim != 3 or points.shape[2] not in (2, 3):
        raise UserError(
            f"{name} of shape {points.shape} holds no key points",
            where=where,
            todo="Its rows are points with x and y, or x, y and visibility.",
        )
    points = points.astype(np.float32)
    if points.shape[2] == 2:
        seen = np.full((*points.shape[:2], 1), 2, dtype=np.float32)
        points = np.concatenate([points, seen], axis=2)
    points[np.isnan(points).any(axis=2)] = 0
    return lists(points.reshape(-1), np.full(len(points), points.shape[1] * 3), None)


def _only_target(arrays: Mapping[str, Any], split: str | None, where: str) -> str:
    """The array of labels in a file that is named for them."""
    if len(arrays) == 1:
        return next(iter(arrays))
    return choose_arrays(arrays, {}, split, where).get("y") or next(iter(arrays))


def _labels_beside(path: Path) -> Path | None:
    """The file of labels that belongs to an IDX file of images, by its official name."""
    if "images-idx" not in path.name:
        return None
    name = path.name.replace("images-idx3", "labels-idx1").removesuffix(".gz")
    return next(
        (p for p in (path.with_name(name), path.with_name(f"{name}.gz")) if p.exists()), None
    )


def _seen_layout(inputs: Any, name: str, where: str) -> str:
    shape = tuple(inputs.shape)
    if len(shape) == 2:
        return "vector"
    if len(shape) == 3 and inputs.dtype in (np.uint8, np.bool_):
        return "HW"
    if len(shape) == 4:
        last, first = shape[3] in _PLANES, shape[1] in _PLANES
        if last != first:
            return "HWC" if last else "CHW"
    choices = "HW or TC (a series)" if len(shape) == 3 else "HWC or CHW"
    raise UserError(
        f"{name} of shape {shape} and type {inputs.dtype} may be {choices}",
        where=where,
        todo="Say which: layout: ...",
    )


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:1] if len(shape) == 2 and shape[1] == 1 else tuple(shape)


def _plane(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    return tuple(shape[2:4]) if layout == "CHW" else tuple(shape[1:3])


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
