"""Sizes as people write them: a number of bytes, or `20 GB`."""

from __future__ import annotations

import re

from cvtrainer.core.errors import UserError

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_FORM = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(i?)b?\s*", re.IGNORECASE)


def byte_size(value: int | str | None, where: str) -> int | None:
    """That many bytes; None stays None."""
    if value is None:
        return None
    found = _FORM.fullmatch(str(value))
    number = float(found[1]) if found else 0.0
    if found is None or number <= 0 or (found[3] and not found[2]):
        raise UserError(f"max_bytes: {value!r} is no size", where=where, todo="Write 20GB.")
    unit = found[2].lower()
    return int(number * (_BINARY if found[3] else _UNITS)[unit])
