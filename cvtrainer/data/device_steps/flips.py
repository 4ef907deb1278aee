"""Mirrored pictures on the device; boxes, masks and keypoints move along.

The whole frame is mirrored, so a picture that was padded to the batch's size keeps its padding
mask right. Rows that are padding themselves stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.device_steps.device_step import (
    Batch,
    check_draws,
    on_device,
    pictures,
    with_values,
)
from cvtrainer.data.device_steps.draws import Draws
from cvtrainer.data.transforms.arguments import chance

BoxFormat = Literal["xyxy", "xywh", "cxcywh"]
_PLANES = ("mask", "masks", "mask_padding", "masks_padding")


class RandomHorizontalFlip:
    """Left and right exchanged, with probability p; `box_format` is the BoxTensorizer's."""

    def __init__(self, *, p: float = 0.5, box_format: BoxFormat = "xyxy", field: str = "x") -> None:
        self._flip = _Flip("RandomHorizontalFlip", 0, p, box_format, field)

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        return self._flip(batch, draws)


class RandomVerticalFlip:
    """Top and bottom exchanged, with probability p; `box_format` is the BoxTensorizer's."""

    def __init__(self, *, p: float = 0.5, box_format: BoxFormat = "xyxy", field: str = "x") -> None:
        self._flip = _Flip("RandomVerticalFlip", 1, p, box_format, field)

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        return self._flip(batch, draws)


class _Flip:
    """Along one axis: 0 is x, 1 is y."""

    def __init__(self, name: str, axis: int, p: float, box_format: str, field: str) -> None:
        if box_format not in ("xyxy", "xywh", "cxcywh"):
            raise UserError(f"no box format {box_format!r}", todo="Use xyxy, xywh or cxcywh.")
        self.name = name
        self.axis = axis
        self.p = chance(name, p)
        self.box_format = box_format
        self.field = field

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        shown = pictures(batch, self.field, self.name)
        check_draws(draws, len(shown), self.name)
        chosen = on_device(draws.uniform()[:, 0] < self.p, shown)
        length = float(shown.shape[-1 - self.axis])

        def change(name: str, value: Any, holder: Mapping[str, Any]) -> Any:
            if not isinstance(value, Tensor):
                return value
            if name in (self.field, f"{self.field}_padding", *_PLANES) and value.ndim > 2:
                return torch.where(_rows(chosen, value), value.flip(-1 - self.axis), value)
            if name == "boxes":
                moved = self._boxes(value, length)
            elif name == "keypoints":
                moved = value.clone()
                moved[..., self.axis] = length - value[..., self.axis]
            else:
                return value
            real = _rows(chosen, value)
            padding = holder.get(f"{name}_padding")
            if isinstance(padding, Tensor):
                real = real & ~(padding if padding.ndim == value.ndim else padding[..., None])
            return torch.where(real, moved, value)

        return with_values(batch, change)

    def _boxes(self, boxes: Tensor, length: float) -> Tensor:
        out = boxes.clone()
        low, size = boxes[..., self.axis], boxes[..., self.axis + 2]
        if self.box_format == "xyxy":
            out[..., self.axis], out[..., self.axis + 2] = length - size, length - low
        elif self.box_format == "xywh":
            out[..., self.axis] = length - low - size
        else:
            out[..., self.axis] = length - low
        return out


def _rows(chosen: Tensor, like: Tensor) -> Tensor:
    return chosen.view(-1, *[1] * (like.ndim - 1))
