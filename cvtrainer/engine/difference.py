"""What differs between two states, place by place, to the last bit.

A state is a tree of mappings, sequences, tensors and plain values. Values that are no numbers in
both count as equal. What a difference means is left to those who ask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Difference:
    """One place that differs; `largest` where numbers of one shape do."""

    path: tuple[str, ...]
    what: str
    largest: float | None = None

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.what}"


def differences(one: Any, other: Any, path: tuple[str, ...] = ()) -> Iterator[Difference]:
    """Everything that is not equal."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        yield from _of_tensors(one, other, path)
    elif isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in [*one, *(key for key in other if key not in one)]:
            place = (*path, str(key))
            if key not in other:
                yield Difference(place, "only in the first")
            elif key not in one:
                yield Difference(place, "only in the second")
            else:
                yield from differences(one[key], other[key], place)
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            yield Difference(path, f"{len(one)} entries, and {len(other)}")
            return
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, (*path, str(number)))
    elif not _is_same(one, other):
        yield Difference(path, f"{_brief(one)}, and {_brief(other)}", _distance(one, other))


def _of_tensors(one: Tensor, other: Tensor, path: tuple[str, ...]) -> Iterator[Difference]:
    if one.shape != other.shape:
        yield Difference(path, f"shape {tuple(one.shape)}, and {tuple(other.shape)}")
    elif one.dtype != other.dtype:
        yield Difference(path, f"{_kind(one)}, and {_kind(other)}")
    else:
        one, other = one.to_dense(), other.to_dense()
        unequal = (one != other) & ~(one.isnan() & other.isnan())
        count = int(unequal.sum())
        if count:
            wide = torch.complex128 if one.is_complex() else torch.float64
            apart = (one[unequal].to(wide) - other[unequal].to(wide)).abs()
            largest = float(apart.nan_to_num(nan=torch.inf).max())
            what = f"{count} of {one.numel()} values differ, by {largest:.3g} at most"
            yield Difference(path, what, largest)


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and one != one and other != other:
        return True
    return type(one) is type(other) and bool(one == other)


def _distance(one: Any, other: Any) -> float | None:
    numbers = all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)
    )
    return abs(float(one) - float(other)) if numbers else None


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _brief(value: Any, most: int = 60) -> str:
    if isinstance(value, Tensor):
        return f"{_kind(value)} {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}…"
