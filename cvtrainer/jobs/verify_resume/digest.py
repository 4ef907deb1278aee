"""Checksums of whatever a run holds: a state becomes one short text per leaf.

Small plain values are kept as they are, so that a report can show them; tensors and arrays become
their form and a checksum of every bit. Objects with state of their own (generators, queues) are
looked into; of anything else only the type counts.
"""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LONGEST = 60
_DEEPEST = 6


def leaves(value: Any, path: str = "") -> dict[str, str]:
    """A text for every leaf under its path."""
    found: dict[str, str] = {}
    _walk(value, path, found, 0)
    return found


def summary(value: Any) -> str:
    """One text for all of it."""
    parts = leaves(value)
    if len(parts) == 1:
        return next(iter(parts.values()))
    return _checksum(repr(sorted(parts.items())).encode())


def attributes(owner: object, *, without: frozenset[str] = frozenset()) -> dict[str, str]:
    """What an object keeps in its attributes, as far as it can be told apart."""
    own = getattr(owner, "__dict__", {})
    return {
        name: summary(value)
        for name, value in own.items()
        if name not in without and _is_telling(value)
    }


def _walk(value: Any, path: str, found: dict[str, str], depth: int) -> None:
    if depth > _DEEPEST:
        found[path] = type(value).__name__
        return
    if isinstance(value, Mapping) and value:
        for key, part in value.items():
            _walk(part, f"{path}/{key}" if path else str(key), found, depth + 1)
    elif isinstance(value, (list, tuple)) and not all(_is_plain(part) for part in value):
        for place, part in enumerate(value):
            _walk(part, f"{path}/{place}" if path else str(place), found, depth + 1)
    else:
        found[path] = _text(value)


def _text(value: Any) -> str:
    if isinstance(value, Tensor):
        return _tensor_text(value)
    if isinstance(value, np.ndarray):
        body = np.ascontiguousarray(value)
        raw = repr(body.tolist()).encode() if body.dtype.hasobject else body.tobytes()
        return f"{body.dtype}{list(body.shape)} {_checksum(raw)}"
    if isinstance(value, random.Random):
        return f"Random {_checksum(repr(value.getstate()).encode())}"
    if isinstance(value, np.random.Generator):
        return f"Generator {_checksum(repr(value.bit_generator.state).encode())}"
    if isinstance(value, np.random.RandomState):
        return f"RandomState {_checksum(repr(value.get_state()).encode())}"
    if isinstance(value, torch.Generator):
        return f"Generator {_tensor_text(value.get_state())}"
    if isinstance(value, (set, frozenset)):
        value = sorted(map(repr, value))
    if isinstance(value, deque):
        value = list(value)
    if _is_plain(value) or isinstance(value, (bytes, list, tuple, Mapping)):
        text = repr(value)
        return text if len(text) <= _LONGEST else f"{text[:20]}… {_checksum(text.encode())}"
    return type(value).__name__


def _tensor_text(value: Tensor) -> str:
    form = f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if value.device.type == "meta" or value.layout != torch.strided:
        return f"{form} {value.layout}"
    whole = value.detach().cpu().contiguous()
    if whole.numel() == 1 and not whole.is_complex():
        return f"{form} {whole.item()!r}"
    return f"{form} {_checksum(whole.reshape(-1).view(torch.uint8).numpy().tobytes())}"


def _checksum(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=8).hexdigest()


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _is_telling(value: Any) -> bool:
    """Whether a change of the value would show in its text."""
    if isinstance(value, (list, tuple, deque, set, frozenset)):
        return all(_is_telling(part) for part in value)
    if isinstance(value, Mapping):
        return all(_is_telling(part) for part in value.values())
    generators = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)
    return _is_plain(value) or isinstance(value, (Tensor, np.ndarray, bytes, *generators))
