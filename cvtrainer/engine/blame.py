"""Whose fault an exception is: where it was raised, and which samples and fields it met.

What a library raises about values that were handed to it is told in one line; what a line of the
user's own code raises keeps its traceback. Neither is memory, nor what processes tell each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from cvtrainer.protocols import Batch

ABOUT_VALUES = (RuntimeError, ValueError, IndexError, TypeError, AssertionError, UserWarning)
"""Kinds of exceptions that libraries raise about values; others always keep their traceback."""

_OURS = str(Path(__file__).parents[1])
_NOT_ABOUT_VALUES = ("nn/parallel", "distributed", "_dynamo", "_inductor", "cuda", "autograd")
_ABOUT_MEMORY = ("out of memory", "allocate memory", "CUDA", "NCCL")


def raised_by_library(error: BaseException) -> bool:
    """Whether a library complains about the values that it was given."""
    if not isinstance(error, ABOUT_VALUES) or isinstance(error, torch.OutOfMemoryError):
        return False
    if any(word in str(error) for word in _ABOUT_MEMORY):
        return False
    last = [frame for frame, _ in _frames(error)][-1:]
    file = last[0].f_code.co_filename if last else ""
    inner = file.partition("/torch/")[2]
    return _in_library(file) and not inner.startswith(_NOT_ABOUT_VALUES)


def users_line(error: BaseException) -> str | None:
    """The last line outside of libraries that the exception went through."""
    lines = [
        (frame.f_code.co_filename, line)
        for frame, line in _frames(error)
        if not _in_library(frame.f_code.co_filename)
    ]
    if not lines or lines[-1][0].startswith("<"):
        return None
    path = Path(lines[-1][0])
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}:{lines[-1][1]}"


def innermost_layer(error: BaseException) -> tuple[nn.Module, Tensor | None] | None:
    """The layer in whose forward pass it happened, and the first tensor that went into it."""
    found: tuple[nn.Module, Tensor | None] | None = None
    for frame, _ in _frames(error):
        names = frame.f_locals
        owner = names.get("self")
        if not isinstance(owner, nn.Module) or frame.f_code.co_name != "forward":
            continue
        given = (names.get(name) for name in frame.f_code.co_varnames[1:])
        found = owner, next((one for one in given if isinstance(one, Tensor)), None)
    return found


def first_line(error: BaseException) -> str:
    """What the exception says, without what follows in further lines."""
    text = str(error).strip().partition("\n")[0]
    return text or type(error).__name__


def form_of_tensor(value: Any) -> str:
    """Shape and kind of a value, as in `[4, 3] float32`."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{list(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def sample_at(batch: Batch, row: int) -> str | None:
    """File and number of the sample at that place of a batch, where they are known."""
    meta = batch.get("meta")
    if not isinstance(meta, Mapping):
        return None
    known = {key: meta[key][row] for key in ("path", "index") if row < len(meta.get(key) or ())}
    number = f"sample {known['index']}" if "index" in known else ""
    if not known.get("path"):
        return number or None
    return f"{known['path']} ({number})" if number else str(known["path"])


def _frames(error: BaseException) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next


def _in_library(file: str) -> bool:
    return "site-packages" in file or "dist-packages" in file or file.startswith(_OURS)
