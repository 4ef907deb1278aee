"""The sixteen moments of a stage, and the table that says who listens to which.

Overriding a method named like a point is subscribing to it. The table of bound methods is
compiled once when a stage starts, so that a point nobody uses costs one truth test. Order is the
rank of the hook's class, then the order in the config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, TypeVar

Listener = Callable[[Any], object]
Listeners = tuple[Listener, ...]
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


@dataclass(frozen=True, slots=True)
class HookTable:
    """For every point, in the order of an epoch, the bound methods that listen to it."""

    before_train: Listeners = ()
    after_train: Listeners = ()
    before_epoch: Listeners = ()
    after_epoch: Listeners = ()
    before_step: Listeners = ()
    after_step: Listeners = ()
    before_forward: Listeners = ()
    after_forward: Listeners = ()
    before_backward: Listeners = ()
    after_backward: Listeners = ()
    before_optimize: Listeners = ()
    after_optimize: Listeners = ()
    before_eval: Listeners = ()
    after_eval: Listeners = ()
    before_save: Listeners = ()
    after_save: Listeners = ()

    def listeners(self, point: str) -> Listeners:
        found: Listeners = getattr(self, point)
        return found


POINTS = tuple(field.name for field in fields(HookTable))
UPDATE_POINTS = tuple(
    point for point in POINTS if point.endswith(("_forward", "_backward", "_optimize"))
)
"""The points that fire for each update of a step."""


def compile_table(hooks: Iterable[object]) -> HookTable:
    """Find out once who listens to which point, in call order."""
    ordered = sorted(hooks, key=lambda hook: getattr(hook, "rank", Rank.DECIDE))
    return HookTable(
        **{
            point: tuple(
                method
                for hook in ordered
                if (method := getattr(hook, point, None)) is not None
                and not getattr(method, "__silent__", False)
            )
            for point in POINTS
        }
    )
