"""Boxes, masks and keypoints to tensors; coordinates are pixels, boxes come in as xyxy."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import BadSample, shape_text
from cvtrainer.data.tensorizer.dtypes import number_type

_FORMATS = ("xyxy", "xywh", "cxcywh")


class BoxTensorizer:
    """Boxes (n x 4, xyxy) -> float tensor in `format`; no box gives a 0 x 4 tensor."""

    thread_safe = True
    ragged_dim: int | None = 0

    def __init__(
        self, format: Literal["xyxy", "xywh", "cxcywh"] = "xyxy", *, dtype: str = "float"
    ) -> None:
        if format not in _FORMATS:
            raise UserError(f"no box format {format!r}", todo=f"Use {', '.join(_FORMATS)}.")
        self.format = format
        self.dtype = number_type(dtype)

    def __call__(self, value: Any) -> Tensor:
        boxes = _rows(value, (4,), "boxes")
        x1, y1, x2, y2 = boxes.unbind(1)
        if bool(((x2 < x1) | (y2 < y1)).any()):
            raise BadSample(
                "a box ends before it begins",
                kind="annotation",
                todo="Give boxes as x1, y1, x2, y2.",
            )
        if self.format == "xywh":
            boxes = torch.stack((x1, y1, x2 - x1, y2 - y1), dim=1)
        elif self.format == "cxcywh":
            boxes = torch.stack(((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1), dim=1)
        return boxes.to(self.dtype)


class KeypointTensorizer:
    """Points (n x 2, or n x 3 with visibility) -> float tensor; `points` is how many there are."""

    thread_safe = True
    ragged_dim: int | None = 0

    def __init__(self, points: int | None = None, *, dtype: str = "float") -> None:
        self.points = points
        self.dtype = number_type(dtype)

    def __call__(self, value: Any) -> Tensor:
        rows = _rows(value, (2, 3), "keypoints")
        if self.points is not None and len(rows) != self.points:
            raise BadSample(f"{len(rows)} keypoints instead of {self.points}", kind="annotation")
        return rows.to(self.dtype)


class MaskTensorizer:
    """A mask of class numbers (height x width, or a stack of them) -> integer tensor.

    `num_classes` checks the numbers; `ignore_index` is the one number above it that is allowed, and
    fills whole numbers up where the masks of a batch differ in size.
    """

    thread_safe = True
    ragged_dim: int | None = None

    def __init__(
        self,
        num_classes: int | None = None,
        *,
        ignore_index: int | None = 255,
        dtype: str = "long",
    ) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.dtype = number_type(dtype)

    @property
    def pad_value(self) -> float | None:
        """What says that a place belongs to no picture; None where the numbers cannot say it."""
        mark = self.ignore_index
        if mark is None or self.dtype.is_floating_point or self.dtype == torch.bool:
            return None
        numbers = torch.iinfo(self.dtype)
        return float(mark) if numbers.min <= mark <= numbers.max else None

    def __call__(self, value: Any) -> Tensor:
        mask = np.array(value)
        if mask.ndim == 3 and mask.shape[2] == 1:
            mask = mask[:, :, 0]
        if mask.ndim not in (2, 3) or mask.dtype.kind not in "biu":
            raise UserError(f"not a mask of class numbers: {shape_text(mask)} of {mask.dtype}")
        tensor = torch.from_numpy(mask.astype(np.int64)).contiguous()
        if self.num_classes is not None:
            wrong = (tensor >= self.num_classes) | (tensor < 0)
            if self.ignore_index is not None:
                wrong &= tensor != self.ignore_index
            if bool(wrong.any()):
                bad = int(tensor[wrong][0])
                raise BadSample(
                    f"mask value {bad} is outside 0..{self.num_classes - 1}", kind="label"
                )
        return tensor.to(self.dtype)


def _rows(value: Any, widths: tuple[int, ...], what: str) -> Tensor:
    wanted = " or ".join(str(w) for w in widths)
    try:
        rows = np.array(value, dtype=np.float32)
    except ValueError as error:
        raise BadSample(f"{what} must be rows of {wanted} numbers", kind="annotation") from error
    if rows.size == 0:
        return torch.zeros(0, rows.shape[1] if rows.ndim == 2 else widths[0])
    if rows.ndim != 2 or rows.shape[1] not in widths:
        raise BadSample(
            f"{what} must be rows of {wanted} numbers, not {shape_text(rows)}", kind="annotation"
        )
    if not np.isfinite(rows).all():
        row = int(np.argwhere(~np.isfinite(rows))[0, 0])
        raise BadSample(
            f"row {row} of the {what} holds a number that is not finite",
            kind="annotation",
        )
    return torch.from_numpy(rows)
