"""What a stage says about its loop, and how its parts are brought into the one form it needs.

Hooks get unique names, loaders become streams, and however optimizers are given (one, several, or
a function that makes them once the networks are in their final form) they end as one per update.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from cvtrainer.core.errors import UserError
from cvtrainer.core.naming import entry_name
from cvtrainer.ddp.world import World
from cvtrainer.engine.clock import Clock
from cvtrainer.engine.iterable_stream import IterableStream
from cvtrainer.protocols import Stream, Task, Writer

OptimizerFactory = Callable[[Mapping[str, nn.Module]], Mapping[str, Optimizer]]
Optimizers = Optimizer | Mapping[str, Optimizer] | OptimizerFactory


@dataclass(frozen=True)
class StageSettings:
    """Name, device, when to evaluate and stop, and the surroundings."""

    name: str = "train"
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    eval_epochs: float | None = 1
    """Every so many epochs; a share of one means several times per epoch."""
    eval_steps: int | None = None
    max_steps: int | None = None
    world: World = field(default_factory=World)
    writers: Sequence[Writer] = ()
    checkpoints: Path = Path("checkpoints")
    """Where checkpoints go unless a hook says otherwise."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Saved with each checkpoint as they are: the class map, say."""

    @property
    def evaluates_often(self) -> bool:
        """Whether it may be time within an epoch."""
        return self.eval_steps is not None or 0 < (self.eval_epochs or 0) < 1

    def evaluates_within(self, clock: Clock, length: int) -> bool:
        """Whether it is time after this batch of an epoch of that length, before its end."""
        if self.eval_steps is not None:
            return clock.stepped and clock.step % self.eval_steps == 0
        share = length * (self.eval_epochs or 1)
        return clock.batch < length and clock.batch // share > (clock.batch - 1) // share

    def evaluates_after(self, epoch: int) -> bool:
        """Whether it is time at the end of this epoch."""
        every = self.eval_epochs or 0
        return every > 0 and (every < 1 or epoch % every == 0)


def by_name(hooks: Iterable[Any]) -> dict[str, Any]:
    """The hooks under their unique names."""
    named: dict[str, Any] = {}
    for hook in hooks:
        name = getattr(hook, "name", None) or entry_name(type(hook).__name__)
        if name in named:
            raise UserError(f"hooks: two of them are named {name!r}; give one another name")
        named[name] = hook
    return named


def as_streams(loaders: Mapping[str, Any] | None, world: World) -> dict[str, Stream]:
    """A stream per phase, each serving this rank's part."""
    streams: dict[str, Stream] = {
        phase: loader if hasattr(loader, "epoch") else IterableStream(loader)
        for phase, loader in (loaders or {}).items()
    }
    if world.world_size > 1:
        for stream in streams.values():
            stream.shard(world.rank, world.world_size)
    return streams


def global_batch_size(streams: Mapping[str, Stream], world: World) -> int:
    """Samples of a training batch over all processes."""
    return streams["train"].batch_size * world.world_size if "train" in streams else 0


def one_per_update(
    given: Optimizers | None, networks: Mapping[str, nn.Module], task: Task
) -> Mapping[str, Optimizer]:
    """The optimizers under the names of their updates."""
    if given is None:
        return {}
    if isinstance(given, Optimizer):
        return {task.updates()[0].name: given}
    return given if isinstance(given, Mapping) else given(networks)
