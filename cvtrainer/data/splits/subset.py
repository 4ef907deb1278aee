"""Some samples of a data set, as a data set of their own: what a split hands out.

Classes, class numbers and what may be promised about threads stay those of the whole, so that
parts of one data set agree on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.data.index import Index
from cvtrainer.data.opening import FilePixels, open_record
from cvtrainer.data.sample import Sample, as_sample


class Subset:
    """The samples with those numbers, in that order; sample k is number `numbers[k]` of the whole.

    What the whole has beside its samples is there too: `classes`, `labels`, `groups`, `index`,
    `evidence`, `thread_safe`, `draws_randomly`. `meta.index` counts in the part.
    """

    def __init__(self, dataset: Any, numbers: Sequence[int] | NDArray[Any]) -> None:
        chosen = np.asarray(numbers, dtype=np.int64).reshape(-1)
        if len(chosen) and not (chosen.min() >= 0 and chosen.max() < len(dataset)):
            raise UserError(
                f"a part names sample {int(chosen.max())} or {int(chosen.min())}, but there are "
                f"{len(dataset)}"
            )
        self.dataset = dataset
        small = len(dataset) <= np.iinfo(np.uint32).max
        self.numbers: NDArray[Any] = chosen.astype(np.uint32) if small else chosen
        self.thread_safe = bool(getattr(dataset, "thread_safe", False))
        self.draws_randomly = bool(getattr(dataset, "draws_randomly", True))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, number: int) -> Sample:
        """Sample `number` of the part, decoded."""
        return open_record(self.record(number), FilePixels())

    def record(self, number: int) -> Sample:
        """Sample `number` of the part with pictures, masks and sounds still in their files."""
        if not 0 <= number < len(self.numbers):
            raise IndexError(f"the part has no sample {number}: it holds {len(self.numbers)}")
        inner = int(self.numbers[number])
        read = getattr(self.dataset, "record", None) or self.dataset.__getitem__
        sample = as_sample(read(inner), inner, type(self.dataset).__name__)
        return {**sample, "meta": {**sample["meta"], "index": number}}

    @property
    def labels(self) -> Any:
        """The class number of each sample of the part; None where samples have no single class."""
        labels = getattr(self.dataset, "labels", None)
        return None if labels is None else np.asarray(labels)[self.numbers]

    @property
    def groups(self) -> Sequence[Any] | None:
        """The group of each sample of the part; None where there are no groups."""
        groups = getattr(self.dataset, "groups", None)
        return None if groups is None else [groups[k] for k in self.numbers.tolist()]

    @property
    def index(self) -> Index:
        """The rows of the part, where the whole has an index."""
        whole: Index = self.dataset.index
        return whole.take(self.numbers)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":
            raise AttributeError(name)
        return getattr(self.dataset, name)
