"""Batches put into pinned memory ahead of their use, so that the copy to a GPU can overlap.

A thread of its own fetches and pins; the loop finds batches ready. Everything that is not a tensor
stays as it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from queue import Empty, Full, Queue
from typing import Any, NamedTuple

from torch import Tensor

from cvtrainer.data.pipeline import Made

_GLANCE = 0.2
_DEPTH = 2


class _Raised(NamedTuple):
    error: BaseException


class _Over(NamedTuple):
    """Nothing more will come."""


def pinned(
    batches: Iterator[Made], pin: Callable[[Tensor], Tensor] = Tensor.pin_memory
) -> Generator[Made, None, None]:
    """The same batches in pinned memory, up to two of them ahead."""
    ready: Queue[Made | _Raised | _Over] = Queue(_DEPTH)
    stop = threading.Event()
    thread = threading.Thread(
        target=_pin_ahead, args=(batches, pin, ready, stop), name="data-pin", daemon=True
    )
    thread.start()
    try:
        while not isinstance(item := ready.get(), _Over):
            if isinstance(item, _Raised):
                raise item.error
            yield item
            del item
    finally:
        stop.set()
        _drain(ready)
        thread.join()


def pinned_value(value: Any, pin: Callable[[Tensor], Tensor]) -> Any:
    """The value with every tensor in it pinned."""
    if isinstance(value, Tensor):
        return pin(value)
    if isinstance(value, Mapping):
        return {key: pinned_value(part, pin) for key, part in value.items()}
    if isinstance(value, list | tuple) and any(_may_hold_tensors(part) for part in value):
        parts = [pinned_value(part, pin) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _may_hold_tensors(value: Any) -> bool:
    return isinstance(value, Tensor | Mapping | list | tuple)


def _pin_ahead(
    batches: Iterator[Made],
    pin: Callable[[Tensor], Tensor],
    ready: Queue[Made | _Raised | _Over],
    stop: threading.Event,
) -> None:
    last: _Raised | _Over = _Over()
    try:
        for made in batches:
            _put(ready, made._replace(batch=pinned_value(made.batch, pin)), stop)
            del made
            if stop.is_set():
                break
    except BaseException as error:
        last = _Raised(error)
    finally:
        close = getattr(batches, "close", None)
        if close is not None:
            close()
    _put(ready, last, stop)


def _put(ready: Queue[Any], item: Any, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            ready.put(item, timeout=_GLANCE)
        except Full:
            continue
        return


def _drain(ready: Queue[Any]) -> None:
    while True:
        try:
            ready.get_nowait()
        except Empty:
            return
