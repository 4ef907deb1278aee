"""Series of values over time to tensors: time first, channels second."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import BadSample, shape_text
from cvtrainer.data.tensorizer.dtypes import number_type


class SequenceTensorizer:
    """[T, C] (or [T]) -> float tensor [T, C].

    With `length` every sequence has that many steps: `align: start` keeps the first ones and fills
    behind them with `pad_value`, `align: end` keeps the last ones and fills before. Without it
    collate fills a batch and says where. `missing: keep` lets NaN through.
    """

    thread_safe = True

    def __init__(
        self,
        length: int | None = None,
        *,
        channels: int | None = None,
        align: Literal["start", "end"] = "start",
        pad_value: float = 0.0,
        missing: Literal["refuse", "keep"] = "refuse",
        dtype: str = "float",
    ) -> None:
        if align not in ("start", "end") or missing not in ("refuse", "keep"):
            raise UserError(
                f"align is {align!r}, missing is {missing!r}",
                where="SequenceTensorizer",
                todo="Use align: start or end, and missing: refuse or keep.",
            )
        self.length, self.channels = length, channels
        self.align, self.pad_value, self.missing = align, pad_value, missing
        self.dtype = number_type(dtype)
        self.ragged_dim = 0 if length is None else None

    def __call__(self, value: Any) -> Tensor:
        steps = np.array(value, dtype=np.float32)
        if steps.ndim == 1:
            steps = steps[:, None]
        if steps.ndim != 2:
            raise UserError(f"not a sequence of steps x channels: {shape_text(steps)}")
        if not len(steps):
            raise BadSample("the sequence is empty", kind="empty")
        if self.channels is not None and steps.shape[1] != self.channels:
            raise BadSample(f"{steps.shape[1]} channels instead of {self.channels}", kind="size")
        if self.missing == "refuse" and not np.isfinite(steps).all():
            step = int(np.argwhere(~np.isfinite(steps))[0, 0])
            raise BadSample(f"step {step} is missing or infinite", kind="value")
        tensor = torch.from_numpy(steps).to(self.dtype)
        if self.length is None:
            return tensor
        return fitted(tensor, self.length, dim=0, fill=self.pad_value, align=self.align)


def fitted(tensor: Tensor, length: int, *, dim: int, fill: float, align: str = "start") -> Tensor:
    """That tensor cut or filled to `length` along one dimension."""
    there = tensor.shape[dim]
    if there >= length:
        return tensor.narrow(dim, 0 if align == "start" else there - length, length).contiguous()
    shape = list(tensor.shape)
    shape[dim] = length
    out = tensor.new_full(shape, fill)
    out.narrow(dim, 0 if align == "start" else length - there, there).copy_(tensor)
    return out
