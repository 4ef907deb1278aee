"""What differs between two checkpoints, component by component.

Components are the networks, the optimizers, the hooks, and whatever else a state holds. Who wrote a
file and where (`run_id`, `run_path`) is no difference: two runs may have come to the same state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.engine.difference import Difference, differences
from cvtrainer.engine.weight_files import read_weights, saved_weights
from cvtrainer.protocols import State

_IDENTITY = ("run_id", "run_path", "format")
_GROUPS = ("networks", "optimizers", "hooks")


@dataclass
class Compared:
    """One component and where it differs; paths are within it."""

    component: str
    found: list[Difference] = field(default_factory=list)

    @property
    def largest(self) -> float | None:
        """The largest distance of two numbers in it."""
        known = [one.largest for one in self.found if one.largest is not None]
        return max(known, default=None)

    def as_plain(self) -> dict[str, Any]:
        return {
            "component": self.component,
            "same": not self.found,
            "largest": self.largest,
            "differences": [
                {"path": ".".join(one.path), "what": one.what, "largest": one.largest}
                for one in self.found
            ],
        }


def diff(one: str | Path, other: str | Path, *, only: str | None = None) -> list[Compared]:
    """All components of both; with `only`, those of that name (`networks`, `hooks.ema`, …)."""
    left, right = (_components(read_weights(Path(path))) for path in (one, other))
    names = list(dict.fromkeys([*left, *right]))
    if only is not None:
        known = [*names, *_GROUPS]
        names = [name for name in names if name == only or name.startswith(f"{only}.")]
        if not names:
            near = nearest(only, known)
            hint = f"Did you mean {near}?" if near else f"There is {', '.join(left)}."
            raise UserError(f"neither file has a component {only!r}", todo=hint)
    return [Compared(name, _compared(name, left, right)) for name in names]


def _compared(name: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> list[Difference]:
    if name not in right:
        return [Difference((), "only in the first")]
    if name not in left:
        return [Difference((), "only in the second")]
    return list(differences(left[name], right[name]))


def _components(state: State) -> dict[str, Any]:
    """What is compared as one thing, by name."""
    if not isinstance(state.get("networks"), Mapping):
        weights = saved_weights(state, averaged=False).networks
        return {f"networks.{name or 'model'}": one for name, one in weights.items()}
    found: dict[str, Any] = {}
    for key, value in state.items():
        if key in _GROUPS and isinstance(value, Mapping):
            found |= {f"{key}.{name}": one for name, one in value.items()}
        elif key not in _IDENTITY:
            found[key] = value
    return found
