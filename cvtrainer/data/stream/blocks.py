"""Memory that two processes see: blocks without a name, each for one large tensor of a batch.

A block that has no name cannot be left behind, whoever is killed. The worker makes blocks and
takes them up again when the training process has dropped the tensor in it, so that after the
first batches no memory is asked for any more and nothing is copied on the way.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import tempfile
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LARGE = 1 << 14
"""Bytes from which a tensor gets a block; smaller ones travel with the message."""

SPARE = 16
"""Blocks kept in hand for later batches; more are given back to the system."""


class Announced(NamedTuple):
    """A block that the other side does not know yet; its file descriptor follows."""

    number: int
    size: int


class OwnBlocks:
    """The worker's side: gives out tensors in blocks, and knows which are free."""

    def __init__(self) -> None:
        self._memory: dict[int, mmap.mmap] = {}
        self._free: dict[int, int] = {}
        self._out: dict[int, int] = {}
        self._next = 0
        self.fresh: list[tuple[Announced, int]] = []
        """Blocks to be announced, with their file descriptors."""
        self.dropped: list[int] = []
        """Blocks that are no more."""

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor to be filled; a small one in plain memory."""
        shape = tuple(shape)
        count = element_count(shape)
        needed = count * dtype.itemsize
        if needed < LARGE:
            return torch.empty(shape, dtype=dtype)
        number = self._take(needed)
        flat = torch.frombuffer(self._memory[number], dtype=dtype, count=count)
        self._out[flat.data_ptr()] = number
        return flat.view(shape)

    def number_of(self, tensor: Tensor) -> int | None:
        """The block whose beginning that tensor is, if there is one."""
        return self._out.get(tensor.data_ptr())

    def sent(self, numbers: Iterable[int]) -> None:
        """A batch is on its way with these; whatever else was given out is free again."""
        kept = set(numbers)
        for number in self._out.values():
            if number not in kept:
                self._free[number] = len(self._memory[number])
        self._out.clear()

    def returned(self, numbers: Iterable[int]) -> None:
        """The other side needs these no more."""
        for number in numbers:
            self._free[number] = len(self._memory[number])
        while len(self._free) > SPARE:
            oldest = next(iter(self._free))
            del self._free[oldest], self._memory[oldest]
            self.dropped.append(oldest)

    def _take(self, needed: int) -> int:
        """The smallest free block that is not wastefully large, or a new one."""
        fitting = [(size, number) for number, size in self._free.items() if size >= needed]
        size, number = min(fitting, default=(0, -1))
        if fitting and size <= 2 * needed + mmap.PAGESIZE:
            del self._free[number]
            return number
        return self._make(rounded(needed))

    def _make(self, size: int) -> int:
        handle = nameless_file()
        os.ftruncate(handle, size)
        number, self._next = self._next, self._next + 1
        self._memory[number] = mmap.mmap(handle, size)
        self.fresh.append((Announced(number, size), handle))
        return number


class SeenBlocks:
    """The training process's side: tensors over a worker's blocks, and which are done with."""

    def __init__(self) -> None:
        self._memory: dict[int, mmap.mmap] = {}
        self.returned: deque[int] = deque()
        """Blocks whose tensors are gone."""

    def add(self, block: Announced, handle: int) -> None:
        """A new block; the descriptor is closed, the memory stays."""
        self._memory[block.number] = mmap.mmap(handle, block.size)
        os.close(handle)

    def drop(self, numbers: Iterable[int]) -> None:
        """Forget blocks that the worker has given up."""
        for number in numbers:
            del self._memory[number]

    def tensor(
        self, number: int, dtype: torch.dtype, shape: Sequence[int], stride: Sequence[int] | None
    ) -> Tensor:
        """The tensor in that block; when the last view of it is gone, the block is free again."""
        memory = self._memory[number]
        lease = (ctypes.c_char * len(memory)).from_buffer(memory)
        weakref.finalize(lease, self.returned.append, number).atexit = False
        flat = torch.frombuffer(lease, dtype=dtype, count=element_count(shape))
        return flat.view(tuple(shape)) if stride is None else flat.as_strided(shape, stride)


def element_count(shape: Sequence[int]) -> int:
    """How many numbers a tensor of that shape holds."""
    return math.prod(shape)


def rounded(size: int) -> int:
    """Up to the next eighth of a power of two, so that batches of near sizes share blocks."""
    step = max(mmap.PAGESIZE, 1 << max(size.bit_length() - 4, 0))
    return -(-size // step) * step


def nameless_file() -> int:
    """The descriptor of an empty file that nobody else can open or has to delete."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("batch", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
