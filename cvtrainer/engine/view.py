"""What a hook is handed: the stage as an object that is also a mapping.

One view lives as long as its stage; only `phase` and `update` change while it runs. What passes
through a step (batch, loss, …) lives in the context and can be read and replaced through the view
as well: `stage["loss"]` is `stage["context"].get("loss")`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from cvtrainer.context import HookContext
    from cvtrainer.engine.clock import Clock

_OWN = ("context", "trainer", "model", "epoch", "step", "phase", "update", "name", "stepped")


class StageView:
    """Name, position and parts of the running stage."""

    __slots__ = ("clock", "context", "name", "phase", "trainer", "update")

    def __init__(self, name: str, context: HookContext, trainer: Any, clock: Clock) -> None:
        self.name = name
        self.context = context
        self.trainer = trainer
        self.clock = clock
        self.phase = "train"
        self.update: str | None = None

    @property
    def model(self) -> nn.Module:
        """The network under training, unwrapped; the first one where there are several."""
        model: nn.Module = self.trainer.model
        return model

    @property
    def epoch(self) -> int:
        """Number of the running epoch, from 1."""
        return self.clock.epoch

    @property
    def step(self) -> int:
        """Optimizer steps done so far; in `after_step` the one just made is counted."""
        return self.clock.step

    @property
    def stepped(self) -> bool:
        """Whether the latest batch completed an optimizer step; not all do under accumulation."""
        return self.clock.stepped

    def __getitem__(self, key: str) -> Any:
        if key in _OWN:
            return getattr(self, key)
        if self.context.has(key):
            return self.context.get(key)
        raise KeyError(f"{key!r}; there is {', '.join([*_OWN, *self.context.keys()])}")

    def __setitem__(self, key: str, value: Any) -> None:
        if key in _OWN:
            raise KeyError(f"{key!r} belongs to the stage and cannot be replaced")
        self.context.set(key, value)

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key) if key in _OWN else self.context.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in _OWN or (isinstance(key, str) and self.context.has(key))

    def __iter__(self) -> Iterator[str]:
        return iter((*_OWN, *self.context.keys()))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def keys(self) -> Iterator[str]:
        return iter(self)
