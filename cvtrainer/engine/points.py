"""The sixteen moments of a stage, and the table that says who listens to which.

Overriding a method named like a point is subscribing to it. The table of bound methods is
compiled once when a stage starts, so that a point nobody uses costs one truth test. Order is the
rank of the hook's class, then the order in the config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any, TypeVar

POINTS = (
    "before_train",
    "after_train",
    "before_epoch",
    "after_epoch",
    "before_step",
    "after_step",
    "before_forward",
    "after_forward",
    "before_backward",
    "after_backward",
    "before_optimize",
    "after_optimize",
    "before_eval",
    "after_eval",
    "before_save",
    "after_save",
)

Listener = Callable[[Any], object]
Method = TypeVar("Method", bound=Callable[..., Any])


class Rank(IntEnum):
    """When a hook is called among others at the same point.

    ADVANCE comes after RECORD so that what is recorded (a learning rate, say) is what was used.
    """

    UPDATE = 1
    EVALUATE = 2
    DECIDE = 3
    RECORD = 4
    ADVANCE = 5
    SAVE = 6


def silent(method: Method) -> Method:
    """Mark a method that does nothing, so that inheriting it is not subscribing."""
    method.__silent__ = True  # type: ignore[attr-defined]
    return method


class HookTable:
    """For every point, the bound methods that listen to it, in call order."""

    __slots__ = (*POINTS, "_rows")

    def __init__(self, hooks: Iterable[object]) -> None:
        ordered = sorted(hooks, key=lambda hook: getattr(hook, "rank", Rank.DECIDE))
        self._rows: list[tuple[str, list[str]]] = []
        for point in POINTS:
            listeners: list[Listener] = []
            names: list[str] = []
            for hook in ordered:
                method = getattr(hook, point, None)
                if method is None or getattr(method, "__silent__", False):
                    continue
                listeners.append(method)
                names.append(str(getattr(hook, "name", None) or type(hook).__name__))
            setattr(self, point, tuple(listeners))
            self._rows.append((point, names))

    def listeners(self, point: str) -> tuple[Listener, ...]:
        found: tuple[Listener, ...] = getattr(self, point)
        return found

    @property
    def rows(self) -> Sequence[tuple[str, list[str]]]:
        """Point and names of its listeners, for printing."""
        return self._rows
