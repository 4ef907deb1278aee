"""What an inspection of a step finds: where a value stopped being a number, and what was near.

A finding names the place (a layer's full name and class), the kind of tensor, the samples whose
rows are affected and the ranges of what went in; it ends with what to try next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

_SHOWN = 8
_HALF = ("float16", "bfloat16")
_LARGE = 1e4


@dataclass(frozen=True)
class Range:
    """The finite values of a tensor, and how many are none."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    low: float | None
    high: float | None
    nan: int
    infinite: int

    def __str__(self) -> str:
        size = " x ".join(str(one) for one in self.shape) or "one value"
        if self.low is None:
            text = f"{self.name} ({self.dtype}, {size}): no finite value"
        else:
            text = f"{self.name} ({self.dtype}, {size}): {self.low:.6g} to {self.high:.6g}"
        odd = [f"{self.nan} NaN"] * bool(self.nan) + [f"{self.infinite} infinite"] * bool(
            self.infinite
        )
        return f"{text}, and {' and '.join(odd)}" if odd and self.low is not None else text


@dataclass(frozen=True)
class Place:
    """The step and batch under way, and its samples as number and file."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    update: str | None = None
    samples: Sequence[tuple[int, str]] = ()


@dataclass(frozen=True)
class Finding:
    """`what` is output, input, gradient, weight, batch field, loss or error."""

    what: str
    name: str
    kind: str
    value: str
    place: Place
    rows: tuple[int, ...] = ()
    """Positions in the batch; empty where the tensor is not per sample."""
    ranges: tuple[Range, ...] = ()
    remarks: tuple[str, ...] = ()
    earlier: tuple[str, ...] = field(default=())

    @property
    def where(self) -> str:
        """The place in words."""
        kind = f" ({self.kind})" if self.kind else ""
        return f"the {self.what} of {self.name}{kind}"

    def lines(self) -> list[str]:
        """For a person."""
        place = self.place
        update = f", update {place.update}" if place.update not in (None, "main") else ""
        first = f"step {place.step} (epoch {place.epoch}, batch {place.batch}{update})"
        lines = [f"{first}: {self._headline()}"]
        lines += [f"  {remark}" for remark in self.remarks]
        lines += [f"  {one}" for one in self.ranges]
        lines += [f"  {self._samples()}"] if place.samples else []
        lines += [f"  before that: {one}" for one in self.earlier]
        return [*lines, f"  next: {self.advice()}"]

    def _headline(self) -> str:
        if self.what == "error":
            kind = f" ({self.kind})" if self.kind else ""
            return f"{self.value} is raised in {self.name}{kind}"
        return f"{self.value} first appears in {self.where}"

    def _samples(self) -> str:
        chosen = [row for row in self.rows if row < len(self.place.samples)]
        samples = [self.place.samples[row] for row in chosen] or list(self.place.samples)
        shown = [f"{index} {file}".rstrip() for index, file in samples[:_SHOWN]]
        rest = len(samples) - len(shown)
        more = f" and {rest} more" if rest else ""
        which = "in the rows of samples" if chosen else "samples of the batch"
        return f"{which}: {', '.join(shown)}{more}"

    def advice(self) -> str:
        """What to try."""
        if self.what == "batch field":
            return "look at these samples; `cvtrainer data doctor` finds more of the kind"
        if self.what == "error":
            return "the traceback below names the line"
        if any(one.dtype in _HALF for one in self.ranges) and self._largest() > _LARGE:
            return (
                "values leave the range of half precision: use bfloat16 instead of float16, "
                "or a lower learning rate"
            )
        if self.what == "weight":
            return "lower the learning rate, warm it up, or clip gradients; a larger eps may help"
        if self.what == "gradient":
            return (
                "clip gradients; keep square roots, norms, logarithms and divisors away from zero"
            )
        if self._largest() > _LARGE:
            return "activations have grown: lower the learning rate, warm it up or clip gradients"
        return (
            "the inputs are ordinary, so it is the operation: keep logarithms, roots and divisors "
            "away from zero, and exponents small"
        )

    def _largest(self) -> float:
        ends = [abs(end) for one in self.ranges for end in (one.low, one.high) if end is not None]
        return max(ends, default=0.0)


def bad_kind(tensor: Tensor) -> str | None:
    """`NaN`, `an infinite value`, or None where all are numbers. It waits for the device."""
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.numel() == 0:
        return None
    if bool(torch.isfinite(tensor).all()):
        return None
    return "NaN" if bool(torch.isnan(tensor).any()) else "an infinite value"


def only_minus_infinity(tensor: Tensor) -> bool:
    """What masks hold on purpose."""
    return not tensor.is_complex() and not bool((tensor.isnan() | (tensor == torch.inf)).any())


def range_of(name: str, tensor: Tensor) -> Range:
    """The range of its finite values."""
    values = tensor.detach()
    values = values.abs() if values.is_complex() else values
    finite = values[torch.isfinite(values)] if values.is_floating_point() else values.flatten()
    known = finite.numel() > 0
    return Range(
        name,
        tuple(tensor.shape),
        str(tensor.dtype).removeprefix("torch."),
        float(finite.min()) if known else None,
        float(finite.max()) if known else None,
        int(torch.isnan(values).sum()),
        int(torch.isinf(values).sum()),
    )


def bad_rows(tensor: Tensor, samples: int) -> tuple[int, ...]:
    """Rows that hold something else than numbers, where rows are samples; not if all do."""
    if tensor.dim() == 0 or not samples or tensor.shape[0] != samples:
        return ()
    good = torch.isfinite(tensor).flatten(1).all(1) if tensor.dim() > 1 else torch.isfinite(tensor)
    rows = tuple(int(row) for row in (~good).nonzero().flatten())
    return () if len(rows) == samples else rows


def tensors_in(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of nested values, with its path."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from tensors_in(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for number, part in enumerate(value):
            yield from tensors_in(part, f"{name}[{number}]" if name else f"[{number}]")
