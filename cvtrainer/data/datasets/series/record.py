"""One series as its file says it, and what a whole file says.

A series that cannot be used carries its problem with it, so that one bad line of a file becomes
one bad sample and the rest of the file is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError

Values = NDArray[np.float32]

Missing = Literal["interpolate", "keep", "refuse"]
MISSING_RULES = ("interpolate", "keep", "refuse")


@dataclass(frozen=True)
class SeriesRecord:
    """A series [T, C] with NaN where a value is missing, and what belongs to it."""

    place: str
    """Where it stands: a line number, or the name of the series."""
    values: Values = field(default_factory=lambda: np.zeros((0, 1), dtype=np.float32))
    label: str | None = None
    number: float | None = None
    horizon: Values | None = None
    """The values to be forecast, in order of time."""
    problem: str | None = None
    problem_kind: str = "value"

    def spoiled(self, problem: str, kind: str = "value") -> SeriesRecord:
        """The same record, unusable for that reason."""
        return replace(self, problem=problem, problem_kind=kind)


@dataclass(frozen=True)
class SeriesContents:
    """What a file holds; `classes` in the order in which it declares them."""

    records: Sequence[SeriesRecord]
    classes: tuple[str, ...] | None = None
    has_numbers: bool = False
    horizon: int | None = None


class NoNumberError(ValueError):
    """A text that should be numbers and is not."""


def values_of(texts: Sequence[str]) -> Values:
    """Numbers of texts; `?`, `NaN` and nothing are missing values."""
    try:
        return np.array(texts, dtype=np.float32)
    except ValueError:
        return np.array([_value(text.strip()) for text in texts], dtype=np.float32)


def _value(text: str) -> float:
    if text in ("", "?"):
        return float("nan")
    try:
        return float(text)
    except ValueError as error:
        raise NoNumberError(f"{text!r} is not a number") from error


def source_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file with their numbers, without empty ones."""
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise UserError("no such file", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise UserError("not a text file in UTF-8", where=str(path)) from error
    stripped = ((k, line.strip()) for k, line in enumerate(text.split("\n"), start=1))
    return [(k, line) for k, line in stripped if line]


def filled(values: Values) -> Values:
    """Gaps filled on a straight line between their neighbours; at an end with the nearest value.

    A channel without any value stays as it is.
    """
    gaps = np.isnan(values)
    if not gaps.any():
        return values
    out = values.copy()
    at = np.arange(len(values))
    for channel in range(values.shape[1]):
        known = ~gaps[:, channel]
        if known.any() and not known.all():
            out[~known, channel] = np.interp(at[~known], at[known], values[known, channel])
    return out


def check_missing(rule: str, where: str) -> None:
    """An error unless that is a rule for missing values."""
    if rule not in MISSING_RULES:
        raise UserError(
            f"missing is {rule!r}", where=where, todo=f"Use {', '.join(MISSING_RULES)}."
        )


def column_of(arrays: Sequence[NDArray[Any]]) -> Any:
    """Arrays of unequal length as one Arrow column of lists."""
    ends = np.cumsum([0, *(array.size for array in arrays)], dtype=np.int64)
    flat = np.concatenate([np.zeros(0, np.float32), *(array.reshape(-1) for array in arrays)])
    return pa.LargeListArray.from_arrays(pa.array(ends), pa.array(flat, type=pa.float32()))
