"""One split under examination: a data set with a name, read without ever asking it to decode.

Stored data sets give their columns; those that users wrote give samples. What both are asked here
is the same: a record, the file that messages name, and a raw value that need not be valid.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.data.index import Index
from cvtrainer.data.sample import Sample, as_sample
from cvtrainer.data.splits.subset import Subset

_FILLED, _KEPT = "interpolate", "keep"
"""How data sets of series say what they do with missing values."""

_MASK_COLUMNS = ("mask", "shapes", "masks", "object_masks")


class Subject:
    """A split's name and data set."""

    def __init__(self, split: str, dataset: Any) -> None:
        self.split = split
        self.dataset = dataset
        # A part of a data set numbers its own samples; columns and fields are asked of the whole.
        self._numbers = dataset.numbers if isinstance(dataset, Subset) else None
        self.whole = dataset.dataset if isinstance(dataset, Subset) else dataset
        if not hasattr(dataset, "__len__"):
            raise UserError(
                f"{type(dataset).__name__} is read in order and has no length",
                todo="Look at it as web_dataset, whose samples can be read at any place.",
            )
        found = getattr(self.whole, "index", None)
        self.index: Index | None = found if isinstance(found, Index) else None
        names = getattr(dataset, "classes", None) or ()
        self.classes: tuple[str, ...] = tuple(str(name) for name in names)
        self.task: str | None = getattr(dataset, "task", None)
        self.fills_missing = False
        self.thread_safe = bool(getattr(dataset, "thread_safe", False))

    @contextmanager
    def as_filed(self) -> Iterator[None]:
        """Within, missing values are seen that the data set would fill in: see `fills_missing`."""
        self.fills_missing = getattr(self.whole, "missing", None) == _FILLED
        if not self.fills_missing:
            yield
            return
        self.whole.missing = _KEPT
        try:
            yield
        finally:
            self.whole.missing = _FILLED

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def fields(self) -> tuple[str, ...]:
        """The target's fields, where the data set declares them."""
        return tuple(getattr(self.dataset, "fields", ()) or ())

    def record(self, row: int) -> Sample:
        """That sample with files unread."""
        give = getattr(self.dataset, "record", None)
        if give is not None:
            found: Sample = give(row)
            return found
        return as_sample(self.dataset[row], row, type(self.dataset).__name__)

    @property
    def has_parts(self) -> bool:
        """Whether input and fields can be asked for one by one."""
        return self.index is not None and hasattr(self.whole, "field")

    def input(self, row: int) -> Any:
        """The input of that sample, where `has_parts`."""
        return self.whole.input(self._at(row))

    def field(self, name: str, row: int) -> Any:
        """A target field of that sample, where `has_parts`."""
        return self.whole.field(name, self._at(row))

    def raw_boxes(self, row: int) -> tuple[Any, Any] | None:
        """All boxes and their labels as filed, where the data set tells them apart."""
        give = getattr(self.whole, "raw_boxes", None)
        if give is None or "boxes" not in self.fields:
            return None
        found: tuple[Any, Any] = give(self._at(row))
        return found

    def file(self, row: int) -> str:
        """The file that messages name for that sample."""
        give = getattr(self.whole, "file", None)
        if callable(give):
            try:
                return str(give(self._at(row)))
            except Exception:  # a row without a file; its own look will say so
                return f"{self.split}[{row}]"
        return f"{type(self.whole).__name__}[{row}]"

    def raw(self, name: str, row: int) -> Any:
        """A value as the source has it, valid or not; None where there is none."""
        if self.index is None or name not in self.index:
            return None
        return self.index.value(name, self._at(row))

    @property
    def can_count_masks(self) -> bool:
        """Whether the number of masks is known without painting or decoding them."""
        return self.index is not None and any(n in self.index for n in _MASK_COLUMNS)

    def mask_count(self, row: int) -> int:
        """How many masks that sample has, by its columns: one of classes, or one per object."""
        if "masks" in self.fields:
            for name in ("shapes", "masks", "object_masks"):
                value = self.raw(name, row)
                if value is not None:
                    return sum(part is not None for part in value)
        has_mask = "mask" in self.fields
        return int(has_mask and any(self.raw(name, row) is not None for name in _MASK_COLUMNS))

    def _at(self, row: int) -> int:
        return row if self._numbers is None else int(self._numbers[row])
