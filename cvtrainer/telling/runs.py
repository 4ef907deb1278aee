"""Masks written as COCO's runs: how many places outside, inside, outside ... column by column.

Their text has six bits a character, and from the third run on the difference to the one before the
last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST = 48
_MORE = 0x20
_NEGATIVE = 0x10


def runs_of(mask: NDArray[Any]) -> list[int]:
    """The runs of one mask `[H, W]`, the first outside."""
    flat = (mask != 0).T.reshape(-1)
    if not flat.size:
        return []
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts: list[int] = np.diff([0, *changes, flat.size]).tolist()
    return [0, *counts] if flat[0] else counts


def run_text(runs: Sequence[int]) -> str:
    """Runs as the text that COCO's annotations have in `counts`."""
    letters: list[str] = []
    for place, run in enumerate(runs):
        left = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            bits = left & 0x1F
            left >>= 5
            more = left != (-1 if bits & _NEGATIVE else 0)
            letters.append(chr((bits | _MORE if more else bits) + _FIRST))
    return "".join(letters)
