"""One split under examination: a data set with a name, read without ever asking it to decode.

Stored data sets give their columns; those that users wrote give samples. What both are asked here
is the same: a record, the file that messages name, and a raw value that need not be valid.
"""

from __future__ import annotations

from typing import Any

from cvtrainer.data.index import Index
from cvtrainer.data.sample import Sample, as_sample


class Subject:
    """A split's name and data set."""

    def __init__(self, split: str, dataset: Any) -> None:
        self.split = split
        self.dataset = dataset
        found = getattr(dataset, "index", None)
        self.index: Index | None = found if isinstance(found, Index) else None
        names = getattr(dataset, "classes", None) or ()
        self.classes: tuple[str, ...] = tuple(str(name) for name in names)
        self.task: str | None = getattr(dataset, "task", None)
        self.thread_safe = bool(getattr(dataset, "thread_safe", False))

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

    def file(self, row: int) -> str:
        """The file that messages name for that sample."""
        give = getattr(self.dataset, "file", None)
        if callable(give):
            try:
                return str(give(row))
            except Exception:  # a row without a file; its own look will say so
                return f"{self.split}[{row}]"
        return f"{type(self.dataset).__name__}[{row}]"

    def raw(self, name: str, row: int) -> Any:
        """A value as the source has it, valid or not; None where there is none."""
        if self.index is None or name not in self.index:
            return None
        return self.index.value(name, row)

    def group(self, row: int) -> Any:
        """What keeps that sample together with others in a split."""
        return self.raw("group", row)
