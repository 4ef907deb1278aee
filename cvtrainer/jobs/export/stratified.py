"""Some samples of many, the same ones every time, each class in its share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SEED = 0


def stratified(labels: Sequence[Any] | None, length: int, count: int) -> NDArray[np.intp]:
    """So many numbers of samples, each class in its proportion and at least once. Labels that are
    not one class for each sample say nothing of proportions."""
    order = np.random.default_rng(_SEED).permutation(length)
    given = _one_each(labels, length)
    if given is None or count >= length:
        return order[:count]
    kinds = given[order]
    rank = np.empty(length)
    for kind in np.unique(kinds):
        mine = np.flatnonzero(kinds == kind)
        rank[mine] = np.arange(len(mine)) / len(mine)
    return order[np.argsort(rank, kind="stable")][:count]


def _one_each(labels: Any, length: int) -> NDArray[Any] | None:
    """The classes, if they are that; somebody's own data set may call anything `labels`."""
    if labels is None:
        return None
    try:
        given = np.asarray(labels)
        np.unique(given)
    except (TypeError, ValueError):  # rows of several lengths, or values without an order
        return None
    return given if given.shape == (length,) else None
