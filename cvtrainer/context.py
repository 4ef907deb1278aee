"""What hooks share with each other during a stage: a small named store.

The trainer puts what passes through a step here (batch, outputs, loss, losses, meters, metrics);
hooks may read it, replace it, and leave values for one another. It is not saved: whatever must
survive a resume belongs into a hook's own state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class HookContext:
    """A dictionary with the five verbs that hooks use."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        self._values: dict[str, Any] = dict(values or {})

    def get(self, key: str, default: Any = None) -> Any:
        return self._values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self._values[key] = value

    def has(self, key: str) -> bool:
        return key in self._values

    def remove(self, key: str) -> None:
        """Forget a key; a key that is not there is no error."""
        self._values.pop(key, None)

    def update(self, values: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        self._values.update(values)

    def keys(self) -> Iterable[str]:
        return self._values.keys()
