"""Class numbers and plain numbers to tensors, with a clear word when a label is out of range."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.tensorizer.dtypes import number_type


class OneHotTensorizer:
    """A label -> a vector with a one at its place; several labels -> several ones."""

    def __init__(self, num_classes: int, *, dtype: str = "float") -> None:
        self.num_classes = num_classes
        self.dtype = number_type(dtype)

    def __call__(self, value: Any) -> Tensor:
        labels = _labels(value, self.num_classes)
        out = torch.zeros(self.num_classes, dtype=self.dtype)
        out[torch.from_numpy(labels.reshape(-1))] = 1
        return out


class IndexTensorizer:
    """A label (or an array of labels) -> class numbers; `num_classes` checks their range."""

    def __init__(self, num_classes: int | None = None, *, dtype: str = "long") -> None:
        self.num_classes = num_classes
        self.dtype = number_type(dtype)

    def __call__(self, value: Any) -> Tensor:
        return torch.from_numpy(_labels(value, self.num_classes)).to(self.dtype)


class ScalarTensorizer:
    """A number or an array of numbers as it is: counts, angles, regression targets."""

    def __init__(self, *, dtype: str = "float") -> None:
        self.dtype = number_type(dtype)

    def __call__(self, value: Any) -> Tensor:
        if isinstance(value, Tensor):
            return value.to(self.dtype)
        numbers = np.array(value)
        if numbers.dtype.kind not in "biuf":
            raise UserError(f"not a number: {value!r}")
        return torch.from_numpy(numbers).to(self.dtype)


def _labels(value: Any, num_classes: int | None) -> np.ndarray:
    labels = np.asarray(value)
    if labels.size == 0:
        return labels.astype(np.int64)
    if labels.dtype.kind not in "biu":
        raise UserError(
            f"a label must be a class number, not {value!r}",
            todo="Map class names to numbers in the data set.",
        )
    labels = labels.astype(np.int64)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        bad = low if low < 0 else high
        known = f"0..{num_classes - 1}" if num_classes is not None else "0 and above"
        raise UserError(
            f"label {bad} is outside {known}",
            todo="Raise num_classes or correct the label." if low >= 0 else None,
        )
    return labels
