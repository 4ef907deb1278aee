"""A batch as a message: large tensors as block numbers, everything else pickled.

Tensors of unusual kinds (sparse, quantised, with a gradient, subclasses) go the way torch pickles
them. The order of a tensor's dimensions in memory is kept.
"""

from __future__ import annotations

import io
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cvtrainer.data.stream.blocks import LARGE, OwnBlocks, SeenBlocks


class _Placed(NamedTuple):
    """A tensor in a block, or with its bytes."""

    block: int | None
    data: bytes
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...] | None


def pack(value: Any, blocks: OwnBlocks) -> tuple[bytes, list[int]]:
    """The message, and the blocks that it speaks of."""
    out = io.BytesIO()
    packer = _Packer(out, blocks)
    packer.dump(value)
    return out.getvalue(), packer.used


def unpack(message: bytes, blocks: SeenBlocks) -> Any:
    """What `pack` was given, with tensors over the blocks."""
    return _Unpacker(io.BytesIO(message), blocks).load()


class _Packer(pickle.Pickler):
    """Knows torch's own reductions only for what is not a plain tensor."""

    def __init__(self, out: io.BytesIO, blocks: OwnBlocks) -> None:
        super().__init__(out, pickle.HIGHEST_PROTOCOL)
        self._blocks = blocks
        self.used: list[int] = []

    def persistent_id(self, obj: Any) -> _Placed | None:
        if type(obj) is not Tensor or not _is_plain(obj):
            return None
        stride: tuple[int, ...] | None = None
        if not obj.is_contiguous():
            if obj.ndim == 4 and obj.is_contiguous(memory_format=torch.channels_last):
                stride = obj.stride()
            else:
                obj = obj.contiguous()
        shape = tuple(obj.shape)
        if obj.numel() * obj.element_size() < LARGE:
            plain = obj.contiguous().view(-1).view(torch.uint8) if obj.numel() else obj
            data = plain.numpy().tobytes() if obj.numel() else b""
            return _Placed(None, data, obj.dtype, shape, None)
        number = self._blocks.number_of(obj)
        if number is None or stride is not None or number in self.used:
            number = self._copied(obj, shape, stride)
        self.used.append(number)
        return _Placed(number, b"", obj.dtype, shape, stride)

    def _copied(
        self, tensor: Tensor, shape: tuple[int, ...], stride: tuple[int, ...] | None
    ) -> int:
        """A block with what a collate of the user made in plain memory."""
        room = self._blocks.empty(shape, tensor.dtype)
        number = self._blocks.number_of(room)
        assert number is not None
        (room if stride is None else room.as_strided(shape, stride)).copy_(tensor)
        return number


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, blocks: SeenBlocks) -> None:
        super().__init__(file)
        self._blocks = blocks

    def persistent_load(self, pid: Any) -> Tensor:
        placed: _Placed = pid
        if placed.block is not None:
            return self._blocks.tensor(placed.block, placed.dtype, placed.shape, placed.stride)
        if not placed.data:
            return torch.empty(placed.shape, dtype=placed.dtype)
        flat = torch.frombuffer(bytearray(placed.data), dtype=torch.uint8)
        return flat.view(placed.dtype).view(placed.shape)


class Parcel:
    """Something for a worker, opened there only when it asks; what cannot be opened says why.

    Packed while the process is being started, because some parts (locks, shared counters) may
    travel at that moment only.
    """

    def __init__(self, content: Any) -> None:
        self.content = content

    def __reduce__(self) -> tuple[Any, ...]:
        return _Sealed, (bytes(ForkingPickler.dumps(self.content)),)


class _Sealed:
    """A parcel on the other side."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def content(self) -> Any:
        return pickle.loads(self._data)


def _is_plain(tensor: Tensor) -> bool:
    return (
        tensor.device.type == "cpu"
        and tensor.layout == torch.strided
        and not tensor.requires_grad
        and not tensor.is_quantized
        and not tensor.is_conj()
        and not tensor.is_neg()
    )
