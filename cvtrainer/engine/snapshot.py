"""A copy of a state that training can no longer change, so that it can be written while it goes on.

Tensors are copied to host memory; from a GPU without waiting, into pinned memory, in the order of
its stream. Containers are copied as well, and a tensor that has several names stays one. Memory is
not kept from copy to copy: both allocators hand the same blocks out again.
"""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from cvtrainer.protocols import State

_PLAIN = (str, int, float, complex, bool, bytes, type(None), torch.dtype, torch.device, torch.Size)


class Snapshot:
    """`state` is complete once `wait` has returned; any thread may call it."""

    def __init__(self, state: State) -> None:
        self._copies: dict[tuple[Any, ...], Tensor] = {}
        self._devices: set[torch.device] = set()
        self.state: State = {key: self._take(value) for key, value in state.items()}
        self._copies.clear()
        self._copied = [_mark(device) for device in self._devices]

    def wait(self) -> None:
        """Until what was copied without waiting has arrived."""
        for event in self._copied:
            event.synchronize()

    def _take(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._copy(value.detach())
        if isinstance(value, _PLAIN):
            return value
        if type(value) is dict:
            return {key: self._take(part) for key, part in value.items()}
        if type(value) is OrderedDict:
            ordered = OrderedDict((key, self._take(part)) for key, part in value.items())
            vars(ordered).update(deepcopy(vars(value)))  # torch keeps versions of modules there
            return ordered
        if type(value) in (list, tuple):
            return type(value)(self._take(part) for part in value)
        return deepcopy(value)

    def _copy(self, tensor: Tensor) -> Tensor:
        if tensor.layout is not torch.strided or not tensor.numel():
            return tensor.cpu().clone()
        key = (
            tensor.device,
            tensor.data_ptr(),
            tensor.dtype,
            tuple(tensor.shape),
            tensor.stride(),
            tensor.is_conj(),
            tensor.is_neg(),
        )
        if key not in self._copies:
            self._copies[key] = self._on_host(tensor)
        return self._copies[key]

    def _on_host(self, tensor: Tensor) -> Tensor:
        if tensor.device.type == "cpu":
            return tensor.clone()
        if tensor.device.type != "cuda":
            return tensor.cpu()
        self._devices.add(tensor.device)
        place = torch.empty_like(tensor, device="cpu", pin_memory=True)
        return place.copy_(tensor, non_blocking=True)


def _mark(device: torch.device) -> torch.cuda.Event:
    """A point in the stream that all copies made so far lie before."""
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(device))
    return event
