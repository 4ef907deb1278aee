"""Memory of batches that is taken up again when the batch is gone.

The system hands out large memory page by page, at the first touch of each; a batch in memory that
was used before costs nothing of that. For threads; worker processes have blocks of their own.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor

from cvtrainer.data.stream.blocks import LARGE, SPARE, element_count, rounded


class RecycledMemory:
    """Gives out tensors; from several threads at once."""

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []
        self._lock = threading.Lock()

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor to be filled; a small one in plain memory."""
        count = element_count(shape)
        needed = count * dtype.itemsize
        if needed < LARGE:
            return torch.empty(tuple(shape), dtype=dtype)
        memory = self._take(needed) or mmap.mmap(-1, rounded(needed))
        lease = (ctypes.c_char * len(memory)).from_buffer(memory)
        weakref.finalize(lease, self._give_back, memory).atexit = False
        return torch.frombuffer(lease, dtype=dtype, count=count).view(tuple(shape))

    def _take(self, needed: int) -> mmap.mmap | None:
        """The smallest free piece that is not wastefully large."""
        with self._lock:
            fitting = [one for one in self._free if needed <= len(one) <= 2 * needed]
            if not fitting:
                return None
            best = min(fitting, key=len)
            self._free.remove(best)
            return best

    def _give_back(self, memory: mmap.mmap) -> None:
        """A batch is gone; this may happen in any thread, even in one that holds the lock."""
        self._free.append(memory)
        while len(self._free) > SPARE:
            self._free.pop(0)
