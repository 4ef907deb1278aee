"""The base of data sets in three steps: how many, one raw record, and a sample made from it.

A storage mix-in gives the first two, a task mix-in the third; any of them can be written by hand.
Samples that cannot be used raise `BadSample`, and the stream puts others in their place.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from cvtrainer.data.datasets.adapter import DataAdapter


class LabBaseDataset(DataAdapter):
    """Gives samples by number; subclasses say `_len`, `_get_raw` and `_get_sample`."""

    @abstractmethod
    def _len(self) -> int:
        """How many records there are."""

    @abstractmethod
    def _get_raw(self, idx: int) -> Any:
        """Record number `idx` as the storage has it: paths, labels, rows of a table."""

    @abstractmethod
    def _get_sample(self, raw: Any) -> dict[str, Any]:
        """The sample of that record: a dict of fields, or a pair (x, label)."""

    def __len__(self) -> int:
        return self._len()

    def _load_sample(self, idx: int) -> dict[str, Any]:
        return self._get_sample(self._get_raw(idx))
