"""The base of data sets that users write: two methods, nothing to call from a constructor.

Random draws inside `_load_sample` are allowed: the stream seeds the global generators per sample,
so the same epoch and position give the same sample in any worker.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from cvtrainer.data.opening import FilePixels, open_record
from cvtrainer.data.sample import Sample, as_sample


class DataAdapter(ABC):
    """Gives samples by number: `{"x": image, "target": {...}}`, image as RGB uint8 HWC."""

    draws_randomly: bool = True
    """False promises that `_load_sample` uses no random generator, which saves seeding them."""

    evidence: tuple[str, ...] = ()
    """What was found out about the data and is worth a line at the start."""

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are."""

    @abstractmethod
    def _load_sample(self, idx: int) -> dict[str, Any]:
        """Sample number `idx`; `meta` is filled in where it is left out."""

    def __getitem__(self, idx: int) -> Sample:
        """Sample number `idx`, decoded."""
        return open_record(self.record(idx), FilePixels())

    def record(self, idx: int) -> Sample:
        """Sample number `idx` with pictures, masks and sounds still in their files."""
        if not 0 <= idx < len(self):
            raise IndexError(f"{type(self).__name__} has no sample {idx}: it holds {len(self)}")
        return as_sample(self._load_sample(idx), idx, type(self).__name__)
