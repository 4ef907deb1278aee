"""Which found objects are right: each takes the free object of its class that it covers best.

The surest goes first, and the overlap must be half or more, as where mean average precision at 50
is measured; so whether one is right does not depend on a threshold below it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

OVERLAP = 0.5


def right_ones(
    boxes: Array, scores: Array, kinds: Array, true_boxes: Array, true_kinds: Array
) -> Array:
    """For the found objects `[K]` of one picture."""
    right = np.zeros(len(boxes), bool)
    taken = np.zeros(len(true_boxes), bool)
    overlaps = _overlaps(boxes.astype(np.float64), true_boxes.astype(np.float64))
    for place in np.argsort(-scores, kind="stable"):
        free = ~taken & (true_kinds == kinds[place])
        mine = np.where(free, overlaps[place], 0.0)
        if len(mine) and mine.max() >= OVERLAP:
            taken[mine.argmax()] = True
            right[place] = True
    return right


def _overlaps(boxes: Array, others: Array) -> Array:
    left_top = np.maximum(boxes[:, None, :2], others[None, :, :2])
    right_bottom = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    both = (right_bottom - left_top).clip(min=0).prod(axis=-1)
    areas = [(one[:, 2:] - one[:, :2]).clip(min=0).prod(axis=-1) for one in (boxes, others)]
    overlap: Array = both / (areas[0][:, None] + areas[1][None] - both).clip(min=1e-9)
    return overlap
