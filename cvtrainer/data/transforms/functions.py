"""Calling a user's own function so that its draws are functions of the sample's key.

One with a parameter `rng` gets a generator of its own. One that says `thread_safe = True` draws
nothing from the global generators and is called as it is; any other runs with them seeded.
Arrays are theirs to write to, wherever they come from.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from cvtrainer.data.randomness import generator, seeded_globals


def says_thread_safe(part: object) -> bool:
    """Whether that part declares that threads may run it."""
    return getattr(part, "thread_safe", False) is True


def call_seeded(function: Callable[..., Any], value: Any, seed: int) -> Any:
    """What the function makes of the value; the seed decides every draw."""
    value = _writeable(value)
    arguments = {"rng": generator(seed)} if _takes_generator(function) else {}
    if says_thread_safe(function):
        return function(value, **arguments)
    with seeded_globals(seed):
        return function(value, **arguments)


def _writeable(value: Any) -> Any:
    """Pixels of a cache belong to everybody; whoever may change them gets a copy."""
    if isinstance(value, dict):
        return {name: _writeable(inner) for name, inner in value.items()}
    if isinstance(value, np.ndarray) and not value.flags.writeable:
        return value.copy()
    return value


def _takes_generator(function: Callable[..., Any]) -> bool:
    try:
        return "rng" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
