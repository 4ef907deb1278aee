"""Where the large tensors of a batch are made: plain memory, or memory that another process sees.

A worker process names its own source while it makes a batch; collate asks here and need not know
who it works for. Stacking into shared memory directly saves a copy of every batch; a tensorizer
that writes its tensor into its row of the batch saves stacking.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

TensorSource = Callable[[Sequence[int], torch.dtype], Tensor]

_LARGE = 1 << 14
"""Bytes from which a tensor gets a row; copying smaller ones costs nothing."""

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


class BatchRows:
    """The memory of a batch in the making, given out row by row to those who make its samples.

    All rows of a batch have the shape and type of the first. One that nobody else has is given
    once; whoever gets none makes its tensor elsewhere, and collate copies as ever.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._whole: Tensor | None = None
        self._given: set[int] = set()
        self._lock = threading.Lock()

    @contextmanager
    def making(self, place: int) -> Iterator[None]:
        """Within, the sample at that place of the batch is made."""
        token = _rows.set((self, place))
        try:
            yield
        finally:
            _rows.reset(token)

    @contextmanager
    def joining(self) -> Iterator[None]:
        """Within, the samples are joined to a batch."""
        token = _rows.set((self, _ALL))
        try:
            yield
        finally:
            _rows.reset(token)

    def row(self, place: int, shape: Sequence[int], dtype: torch.dtype) -> Tensor | None:
        """The row of that place, if it is still to be had."""
        with self._lock:
            if place in self._given:
                return None
            if self._whole is None:
                self._whole = empty_tensor((self._count, *shape), dtype)
            whole = self._whole
            if whole.shape[1:] != tuple(shape) or whole.dtype != dtype:
                return None
            self._given.add(place)
            return whole[place]

    def joined(self, tensors: Sequence[Tensor]) -> Tensor | None:
        """The memory as a whole, if these are its rows in their order."""
        whole = self._whole
        if whole is None or len(tensors) != self._count:
            return None
        first, step = whole.data_ptr(), whole.stride(0) * whole.element_size()
        for place, tensor in enumerate(tensors):
            if tensor.data_ptr() != first + place * step or not tensor.is_contiguous():
                return None
        same = tensors[0].shape == whole.shape[1:] and tensors[0].dtype == whole.dtype
        return whole if same else None


_ALL = -1

_rows: ContextVar[tuple[BatchRows, int] | None] = ContextVar("batch_rows", default=None)


def sample_tensor(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor for the sample that is being made, to be filled: its row where it has one."""
    found = None
    making = _rows.get()
    if making is not None and making[1] != _ALL:
        count = dtype.itemsize
        for length in shape:
            count *= length
        if count >= _LARGE:
            found = making[0].row(making[1], shape, dtype)
    return torch.empty(tuple(shape), dtype=dtype) if found is None else found


def joined_rows(tensors: Sequence[Tensor]) -> Tensor | None:
    """The batch that these tensors lie in already, where they were made as its rows."""
    making = _rows.get()
    if making is None or making[1] != _ALL:
        return None
    return making[0].joined(tensors)
