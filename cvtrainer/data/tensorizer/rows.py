"""Rows of a table to tensors: numbers on one scale, categories numbered.

Both learn from the training set, and what they learnt goes with the checkpoint: evaluation and
prediction use the scale and the numbering of the training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import BadSample, shape_text
from cvtrainer.data.tensorizer.learning import TrainingField

MISSING = 0
"""The number of a category that is missing, or that training had not."""


class NumbersTensorizer:
    """Numbers -> the same with mean 0 and deviation 1 over the training set, float [F].

    A missing number (NaN, which `missing: keep` of the table lets through) becomes 0, the mean;
    `flags` adds a column for each that says where it was missing, [2 F].
    """

    thread_safe = True
    ragged_dim: int | None = None

    def __init__(self, *, flags: bool = False) -> None:
        self.flags = flags
        self._mean: np.ndarray | None = None
        self._spread: np.ndarray | None = None

    def __call__(self, value: Any) -> Tensor:
        if self._mean is None or self._spread is None:
            raise UserError(
                "no scale yet",
                where="NumbersTensorizer",
                todo="Let it learn from the training set.",
            )
        row = _numbers(value)
        if row.shape != self._mean.shape:
            raise BadSample(f"{len(row)} numbers where training had {len(self._mean)}", kind="size")
        if np.isinf(row).any():
            raise BadSample("a value is infinite", kind="value")
        missing = np.isnan(row)
        scaled = np.where(missing, 0.0, (row - self._mean) / self._spread)
        made = np.concatenate([scaled, missing]) if self.flags else scaled
        return torch.from_numpy(made.astype(np.float32))

    def learn(self, field: TrainingField) -> None:
        """Mean and deviation of each column over what is there."""
        if self._mean is not None:
            return
        rows = np.stack([_numbers(value) for value in field.values()])
        there = ~np.isnan(rows)
        count = np.maximum(there.sum(axis=0), 1)
        self._mean = np.where(there, rows, 0.0).sum(axis=0) / count
        square = np.where(there, (rows - self._mean) ** 2, 0.0).sum(axis=0) / count
        self._spread = np.where(square > 0, np.sqrt(square), 1.0)

    def state_dict(self) -> dict[str, Any]:
        """Mean and deviation of each column."""
        if self._mean is None or self._spread is None:
            return {}
        return {"mean": self._mean.tolist(), "spread": self._spread.tolist()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The scale of the training."""
        self._mean = np.asarray(state["mean"], dtype=np.float64)
        self._spread = np.asarray(state["spread"], dtype=np.float64)


class CategoriesTensorizer:
    """Names, one for each column -> their numbers, int64 [K]; 0 for what training had not.

    `sizes` says how many numbers each column may have, that 0 included, as an embedding must know;
    where there are more names, the most frequent ones have a number.
    """

    thread_safe = True
    ragged_dim: int | None = None

    def __init__(self, sizes: Sequence[int] | None = None) -> None:
        if sizes is not None and min(sizes, default=1) < 1:
            raise UserError(f"CategoriesTensorizer: sizes is {list(sizes)}; give 1 or more each")
        self.sizes = None if sizes is None else list(sizes)
        self._numbers: list[dict[str, int]] | None = None

    @property
    def names(self) -> list[list[str]]:
        """The names of each column in the order of their numbers, the first of which is 1."""
        return [list(column) for column in self._known()]

    def __call__(self, value: Any) -> Tensor:
        known = self._known()
        row = _names(value)
        if len(row) != len(known):
            raise BadSample(f"{len(row)} categories where training had {len(known)}", kind="size")
        numbers = [
            MISSING if name is None else column.get(name, MISSING)
            for name, column in zip(row, known, strict=True)
        ]
        return torch.tensor(numbers, dtype=torch.int64)

    def learn(self, field: TrainingField) -> None:
        """Number the names of each column, by falling count and then by letters."""
        if self._numbers is not None:
            return
        counts: list[Counter[str]] = []
        for value in field.values():
            row = _names(value)
            counts = counts or [Counter() for _ in row]
            for name, column in zip(row, counts, strict=True):
                if name is not None:
                    column[name] += 1
        if self.sizes is not None and len(self.sizes) != len(counts):
            raise UserError(
                f"sizes has {len(self.sizes)} entries, the data {len(counts)} columns",
                where="CategoriesTensorizer",
                todo="Give a size for each column of categories.",
            )
        limits = [None] * len(counts) if self.sizes is None else [one - 1 for one in self.sizes]
        self._number(
            [
                sorted(column, key=lambda name: (-column[name], name))[:limit]
                for column, limit in zip(counts, limits, strict=True)
            ]
        )

    def state_dict(self) -> dict[str, Any]:
        """The names of each column."""
        return {} if self._numbers is None else {"names": self.names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The numbering of the training."""
        self._number(state["names"])

    def _number(self, names: Sequence[Sequence[str]]) -> None:
        self._numbers = [
            {name: number for number, name in enumerate(column, start=1)} for column in names
        ]

    def _known(self) -> list[dict[str, int]]:
        if self._numbers is None:
            raise UserError(
                "no categories yet",
                where="CategoriesTensorizer",
                todo="Let it learn from the training set.",
            )
        return self._numbers


def _numbers(value: Any) -> np.ndarray:
    row = np.asarray([np.nan if one is None else one for one in value], dtype=np.float64)
    if row.ndim != 1:
        raise UserError(f"not a row of numbers: {shape_text(value)}")
    return row


def _names(value: Any) -> list[str | None]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise UserError(f"not a list of names: {value!r}", todo="Give one for each column.")
    return [None if one is None else str(one).strip() or None for one in value]
