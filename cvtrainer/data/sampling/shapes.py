"""Batches of pictures of similar shape, so that little is padded.

Each batch over all ranks holds samples of one group of aspect ratios. Within a group the samples
are shuffled, and the batches of all groups are shuffled among each other, each epoch anew.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.core.seeds import mix
from cvtrainer.data.decode import image_size
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.sampling.permutation import Numbers, Permutation
from cvtrainer.data.sampling.sampler import ORDER_PLACE, BatchOrder

_WHERE = "AspectRatio"
_READERS = 8


class AspectRatio:
    """Groups by width / height; `borders` lie between the groups.

    The last batch of each group takes what is left of it and is shared evenly by the ranks; with
    drop_last it is left out.
    """

    def __init__(self, borders: Sequence[float] = (1.0,)) -> None:
        if not borders or list(borders) != sorted(set(borders)) or borders[0] <= 0.0:
            raise UserError(
                f"borders are {list(borders)}", where=_WHERE, todo="Give rising ratios above 0."
            )
        self.borders = tuple(float(border) for border in borders)
        self._groups: list[Numbers] = []

    def prepare(self, dataset: Sized) -> None:
        sizes = _sizes(dataset)
        ratios = sizes[:, 1] / np.maximum(sizes[:, 0], 1.0)
        groups = np.searchsorted(np.array(self.borders), ratios, side="right")
        members = (np.flatnonzero(groups == group) for group in range(len(self.borders) + 1))
        self._groups = [numbers.astype(np.int64) for numbers in members if len(numbers)]

    def sizes(self, global_batch: int, *, drop_last: bool) -> Numbers:
        parts: list[int] = []
        for members in self._groups:
            whole, rest = divmod(len(members), global_batch)
            parts += [global_batch] * whole
            if rest and not drop_last:
                parts.append(rest)
        return np.array(parts, dtype=np.int64)

    def batches(self, seed: int, epoch: int, global_batch: int, *, drop_last: bool) -> BatchOrder:
        key = mix(seed, epoch, ORDER_PLACE)
        counts = [
            len(members) // global_batch if drop_last else -(-len(members) // global_batch)
            for members in self._groups
        ]
        return _GroupBatches(self._groups, np.cumsum(counts), global_batch, key)


class _GroupBatches:
    def __init__(self, groups: list[Numbers], ends: Numbers, size: int, key: int) -> None:
        self._groups = groups
        self._ends = ends
        self._size = size
        self._batches = Permutation(int(ends[-1]), mix(key, 0))
        self._inside = [
            Permutation(len(members), mix(key, 1, number)) for number, members in enumerate(groups)
        ]

    def batch(self, number: int) -> Numbers:
        drawn = int(self._batches.at(np.array([number]))[0])
        group = int(np.searchsorted(self._ends, drawn, side="right"))
        members = self._groups[group]
        first = (drawn - (int(self._ends[group - 1]) if group else 0)) * self._size
        places = np.arange(first, min(first + self._size, len(members)), dtype=np.int64)
        return members[self._inside[group].at(places)]


def _sizes(dataset: Sized) -> NDArray[np.float64]:
    """Height and width of each picture: as the data set says, else from the files' headers."""
    columns: Any = getattr(dataset, "index", ())
    if "height" in columns and "width" in columns:
        sides = [
            np.asarray(columns.numbers(name), dtype=np.float64) for name in ("height", "width")
        ]
        found = np.stack(sides, axis=1)
        if np.isfinite(found).all():
            return found
    record = getattr(dataset, "record", None) or getattr(dataset, "__getitem__", None)
    if record is None:
        raise UserError("the data set gives no samples by number", where=_WHERE)

    def size(number: int) -> tuple[int, int]:
        value = record(number)["x"]
        if isinstance(value, Encoded):
            try:
                return image_size(value.read(), value.name)
            except (UserError, OSError):
                return 1, 1
        height, width = np.asarray(value).shape[:2]
        return int(height), int(width)

    with ThreadPoolExecutor(_READERS) as readers:
        return np.array(list(readers.map(size, range(len(dataset)))), dtype=np.float64)
