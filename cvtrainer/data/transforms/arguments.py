"""What the words in a transform's arguments may be; a wrong value is one line that names it."""

from __future__ import annotations

from collections.abc import Sequence

from cvtrainer.core.errors import UserError

Range = float | Sequence[float]
"""[low, high], or a number n that stands for a range around the neutral value."""


def chance(name: str, p: float) -> float:
    """A probability."""
    if not 0.0 <= p <= 1.0:
        raise UserError(f"{name}: p is {p}", todo="Use a probability from 0 to 1.")
    return p


def size_of(
    name: str, height: int | None, width: int | None, size: int | Sequence[int] | None
) -> tuple[int, int]:
    """(height, width) from either spelling."""
    if size is not None and height is None and width is None:
        height, width = (size, size) if isinstance(size, int) else size
    elif size is not None:
        raise UserError(f"{name} has both size and height or width", todo="Give one of them.")
    if height is None or width is None or height < 1 or width < 1:
        raise UserError(
            f"{name} needs height and width from 1 up", todo="Or size: [height, width]."
        )
    return int(height), int(width)


def positive_pair(name: str, word: str, value: Sequence[float]) -> tuple[float, float]:
    """[low, high] above 0."""
    low, high = (float(v) for v in value)
    if not 0 < low <= high:
        raise UserError(f"{name}: {word} is {list(value)}", todo="Give [low, high] above 0.")
    return low, high


def limits(name: str, word: str, value: Range, *, centre: float = 0.0) -> tuple[float, float]:
    """[low, high]; a number n means n to both sides of `centre`."""
    if isinstance(value, int | float):
        return centre - abs(value), centre + abs(value)
    low, high = (float(v) for v in value)
    if low > high:
        raise UserError(f"{name}: {word} is {list(value)}", todo="Give [low, high].")
    return low, high


def within(name: str, word: str, value: Range, *, low: float, high: float) -> tuple[float, float]:
    """[first, last] inside low..high; a number is both of them."""
    first, last = (value, value) if isinstance(value, int | float) else value
    if not low <= first <= last <= high:
        shown = value if isinstance(value, int | float) else list(value)
        raise UserError(f"{name}: {word} is {shown}", todo=f"Stay within {low:g}..{high:g}.")
    return float(first), float(last)


def filling(value: float | Sequence[float]) -> float | tuple[float, ...]:
    """What stands where no picture is: one number, or one per channel."""
    return tuple(float(v) for v in value) if isinstance(value, Sequence) else value
