"""Class numbers and plain numbers to tensors; a value that cannot be right is a bad sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import BadSample, shape_text
from cvtrainer.data.tensorizer.dtypes import number_type
from cvtrainer.data.tensorizer.learning import TrainingField


class OneHotTensorizer:
    """A label -> a vector with a one at its place; several labels -> several ones.

    Without `num_classes` the number of classes is that of the training set.
    """

    thread_safe = True
    ragged_dim: int | None = None

    def __init__(self, num_classes: int | None = None, *, dtype: str = "float") -> None:
        self.num_classes = num_classes
        self.dtype = number_type(dtype)

    def __call__(self, value: Any) -> Tensor:
        if self.num_classes is None:
            raise UserError(
                "the number of classes is not known",
                where=type(self).__name__,
                todo="Give num_classes.",
            )
        labels = _labels(value, self.num_classes)
        out = torch.zeros(self.num_classes, dtype=self.dtype)
        out[torch.from_numpy(labels.reshape(-1))] = 1
        return out

    def learn(self, field: TrainingField) -> None:
        """Take the number of classes from the training set, unless it was given."""
        if self.num_classes is None and field.classes is not None:
            self.num_classes = max(field.classes.values()) + 1

    def state_dict(self) -> dict[str, Any]:
        """The number of classes."""
        return {"num_classes": self.num_classes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The number of classes that training had."""
        trained = state["num_classes"]
        if self.num_classes is not None and trained is not None and trained != self.num_classes:
            raise UserError(
                f"num_classes is {self.num_classes}, but training had {trained} classes",
                where=type(self).__name__,
                todo="Leave num_classes out, or train again.",
            )
        self.num_classes = self.num_classes if trained is None else trained


class MultiHotTensorizer(OneHotTensorizer):
    """A list of labels -> a vector with a one at the place of each; none -> all zeros."""

    def __call__(self, value: Any) -> Tensor:
        if np.ndim(value) != 1:
            raise UserError(
                f"not a list of class numbers: {value!r}", todo="Use one_hot for a single label."
            )
        return super().__call__(value)


class IndexTensorizer:
    """A label (or an array of labels) -> class numbers; `num_classes` checks their range.

    Arrays of unequal length are filled with -100, which losses and meters leave out.
    """

    thread_safe = True
    ragged_dim: int | None = None
    pad_value: float = -100.0

    def __init__(self, num_classes: int | None = None, *, dtype: str = "long") -> None:
        self.num_classes = num_classes
        self.dtype = number_type(dtype)

    def __call__(self, value: Any) -> Tensor:
        return torch.from_numpy(_labels(value, self.num_classes)).to(self.dtype)


class ScalarTensorizer:
    """A number or an array of numbers as it is: counts, angles, regression targets."""

    thread_safe = True
    ragged_dim: int | None = None

    def __init__(self, *, dtype: str = "float") -> None:
        self.dtype = number_type(dtype)

    def __call__(self, value: Any) -> Tensor:
        return finite_numbers(value).to(self.dtype)


class VectorTensorizer:
    """A list of numbers -> a vector of `size` numbers, the same for every sample."""

    thread_safe = True
    ragged_dim: int | None = None

    def __init__(self, size: int | None = None, *, dtype: str = "float") -> None:
        self.size = size
        self.dtype = number_type(dtype)

    def __call__(self, value: Any) -> Tensor:
        vector = finite_numbers(value)
        if vector.ndim != 1 or (self.size is not None and len(vector) != self.size):
            wanted = f"{self.size} numbers" if self.size is not None else "a list of numbers"
            raise BadSample(f"{shape_text(vector)} where {wanted} should be", kind="size")
        return vector.to(self.dtype)


def finite_numbers(value: Any) -> Tensor:
    """The numbers as they are; one that is missing or infinite makes a bad sample."""
    if isinstance(value, Tensor):
        tensor = value
    else:
        numbers = np.array(value)
        if numbers.dtype.kind not in "biuf":
            raise UserError(f"not a number: {value!r}")
        tensor = torch.from_numpy(numbers)
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        wrong = tensor.reshape(-1)[~torch.isfinite(tensor).reshape(-1)][0]
        raise BadSample(f"a value is {float(wrong)}", kind="value", todo="Correct or remove it.")
    return tensor


def _labels(value: Any, num_classes: int | None) -> np.ndarray:
    labels = np.asarray(value)
    if labels.size == 0:
        return labels.astype(np.int64)
    if labels.dtype.kind == "f":
        raise BadSample(f"a label must be a class number, not {value!r}", kind="label")
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
        raise BadSample(
            f"label {bad} is outside {known}",
            kind="label",
            todo="Raise num_classes or correct the label." if low >= 0 else None,
        )
    return labels
