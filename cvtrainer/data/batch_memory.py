"""Where the large tensors of a batch are made: plain memory, or memory that another process sees.

A worker process names its own source while it makes a batch; collate asks here and need not know
who it works for. Stacking into shared memory directly saves a copy of every batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

TensorSource = Callable[[Sequence[int], torch.dtype], Tensor]

_source: ContextVar[TensorSource | None] = ContextVar("batch_memory", default=None)


def empty_tensor(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor of that shape whose values are still to be written."""
    source = _source.get()
    return torch.empty(tuple(shape), dtype=dtype) if source is None else source(shape, dtype)


@contextmanager
def tensors_from(source: TensorSource) -> Iterator[None]:
    """Within, batches are made in memory from that source."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)
