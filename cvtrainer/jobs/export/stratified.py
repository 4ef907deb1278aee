"""Some samples of many, the same ones every time, each class in its share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SEED = 0


def stratified(labels: Sequence[Any] | None, length: int, count: int) -> NDArray[np.intp]:
    """So many numbers of samples, each class in its proportion and at least once."""
    order = np.random.default_rng(_SEED).permutation(length)
    if labels is None or count >= length:
        return order[:count]
    kinds = np.asarray(labels)[order]
    rank = np.empty(length)
    for kind in np.unique(kinds):
        mine = np.flatnonzero(kinds == kind)
        rank[mine] = np.arange(len(mine)) / len(mine)
    return order[np.argsort(rank, kind="stable")][:count]
