"""A share of something: `1%` or `0.01`, from nothing to all of it."""

from __future__ import annotations

import re

from cvtrainer.core.errors import UserError

_PERCENT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*%\s*")


def parse_share(value: object) -> float:
    """The share as a number from 0 to 1."""
    share: float | None = None
    if isinstance(value, str) and (match := _PERCENT.fullmatch(value)):
        share = float(match[1]) / 100
    elif isinstance(value, int | float) and not isinstance(value, bool):
        share = float(value)
    if share is None or not 0.0 <= share <= 1.0:
        raise UserError(f"{value!r} is no share", todo="Write 1% or 0.01.")
    return share
