"""What a sample of each task holds, made from a raw record of any storage.

A raw record is a mapping with `x` and the fields of the task, flat or inside `target`; or a pair
(x, first field). Files may be given by their path and classes by their name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.text_files import decode_text
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.sample import BadSample, Sample

InputKind = Literal["image", "sound", "text", "series"]


class ClassificationTask:
    """A picture of one class. `x` image, `class_id` int."""

    task = "classification"
    input_kind: InputKind = "image"
    fields: tuple[str, ...] = ("class_id",)
    """The keys of `target`; `_get_raw` has to give them."""

    def _get_sample(self, raw: Any) -> Sample:
        given = _as_fields(raw, self.fields, type(self).__name__)
        classes = getattr(self, "classes", None)
        meta = dict(given.get("meta") or {})
        if isinstance(given["x"], str | Path) and self.input_kind != "text":
            meta.setdefault("path", str(given["x"]))
        target = {name: _field(name, given[name], classes) for name in self.fields}
        sample = {"x": _input(given["x"], self.input_kind), "target": target}
        return {**sample, "meta": meta} if meta else sample


class MultiLabelTask(ClassificationTask):
    """A picture of any number of classes. `x` image, `class_ids` int64 [n]."""

    task = "multilabel"
    fields = ("class_ids",)


class RegressionTask(ClassificationTask):
    """A picture and numbers to predict. `x` image, `value` float or float32 [k]."""

    task = "regression"
    fields = ("value",)


class DetectionTask(ClassificationTask):
    """Objects and where they are. `x` image, `boxes` float32 [n, 4], `box_labels` int64 [n]."""

    task = "detection"
    fields = ("boxes", "box_labels")


class SegmentationTask(ClassificationTask):
    """A class per pixel. `x` image, `mask` uint8 [H, W]."""

    task = "segmentation"
    fields = ("mask",)


class InstanceTask(ClassificationTask):
    """Objects with their pixels. `x` image, `boxes`, `box_labels`, `masks` uint8 [n, H, W]."""

    task = "instances"
    fields = ("boxes", "box_labels", "masks")


class KeypointTask(ClassificationTask):
    """Points of a picture. `x` image, `keypoints` float32 [n, 3] (x, y, visible)."""

    task = "keypoints"
    fields = ("keypoints",)


class GenerationTask(ClassificationTask):
    """Pictures alone. `x` image, nothing to predict."""

    task = "generation"
    fields = ()


class SeriesTask(ClassificationTask):
    """A time series of one class. `x` float32 [T, C], `class_id` int.

    With numbers to predict, a subclass says `task = "regression"` and `fields = ("value",)`.
    """

    input_kind = "series"


class AudioTask(ClassificationTask):
    """A sound of one class. `x` float32 [T] or [C, T], `class_id` int, meta.sample_rate."""

    input_kind = "sound"


class TextTask(ClassificationTask):
    """A text of one class. `x` str, `class_id` int; a `Path` is read as UTF-8."""

    input_kind = "text"


def _as_fields(raw: Any, fields: tuple[str, ...], where: str) -> dict[str, Any]:
    """The record flat: `x`, the fields of the task, and `meta`."""
    if isinstance(raw, Mapping):
        given = {**raw, **(raw.get("target") or {})}
    elif isinstance(raw, tuple | list) and len(raw) == 2 and len(fields) == 1:
        given = {"x": raw[0], fields[0]: raw[1]}
    else:
        given = {}
    missing = [name for name in ("x", *fields) if name not in given]
    if missing:
        raise UserError(
            f"a record of the storage lacks {missing[0]}",
            where=where,
            todo=f"Let _get_raw return a dict with {', '.join(('x', *fields))}.",
        )
    return given


def _input(value: Any, kind: InputKind) -> Any:
    if kind == "series":
        series = np.asarray(value, dtype=np.float32)
        return series[:, None] if series.ndim == 1 else series
    if kind == "text":
        if isinstance(value, Path):
            return decode_text(value.read_bytes(), str(value), None)
        return value
    return Encoded(str(value), kind) if isinstance(value, str | Path) else value


def _field(name: str, value: Any, classes: Mapping[str, int] | None) -> Any:
    if name == "class_id":
        return _class_number(value, classes)
    if name in ("class_ids", "box_labels"):
        return np.array([_class_number(one, classes) for one in value], dtype=np.int64)
    if name == "boxes":
        return np.asarray(value, dtype=np.float32).reshape(-1, 4)
    if name == "value":
        return float(value) if np.ndim(value) == 0 else np.asarray(value, dtype=np.float32)
    if name == "keypoints":
        return np.asarray(value, dtype=np.float32)
    if name == "mask" and isinstance(value, str | Path):
        return Encoded(str(value), "mask")
    return value


def _class_number(value: Any, classes: Mapping[str, int] | None) -> int:
    if not isinstance(value, str):
        return int(value)
    if not classes:
        raise UserError(
            f"class {value!r} has no number",
            todo='Give the data set `classes = {"name": 0, …}`.',
        )
    if value not in classes:
        raise BadSample(f"class {value!r} is not among the {len(classes)} classes", kind="label")
    return classes[value]
