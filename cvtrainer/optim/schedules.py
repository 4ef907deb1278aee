"""Learning-rate schedules with one face, whichever class of torch stands behind them.

A schedule says when it moves (after each epoch or each step) and whether it wants a metric; the
hook that owns it does the rest. Its state holds the optimizer's current rates as well, because
torch's schedulers compute the next rate from the last one and change it when they are made. How
long the run is gets filled in where a scheduler asks for it and the config is silent.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import ChainedScheduler, LRScheduler

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.optim.construct import construct, takes
from cvtrainer.protocols import State

Unit = Literal["epoch", "step"]

_LENGTHS = ("total_steps", "T_max")
_MOVED = (
    *("lr", "initial_lr", "max_lr", "min_lr"),
    *("momentum", "base_momentum", "max_momentum", "betas"),
)


@dataclass(frozen=True)
class Length:
    """How long the run is, as far as it is known."""

    epochs: int | None = None
    steps: int | None = None

    def in_units(self, unit: Unit) -> int | None:
        return self.epochs if unit == "epoch" else self.steps


class Schedule:
    """Moves the rates of one optimizer."""

    def __init__(
        self, scheduler: LRScheduler, unit: Unit = "epoch", needs_metric: bool = False
    ) -> None:
        self.scheduler = scheduler
        self.unit: Unit = unit
        self.needs_metric = needs_metric

    def advance(self, metric: float | None = None) -> None:
        """One epoch or one step is over."""
        if not self.needs_metric:
            self.scheduler.step()
            return
        if metric is None:
            raise UserError(
                f"{type(self.scheduler).__name__} follows a metric and was given none; name one "
                "that the stage measures"
            )
        step: Any = self.scheduler.step
        step(metric)

    def state_dict(self) -> State:
        """Where the scheduler is, and the rates it has set."""
        groups = self.scheduler.optimizer.param_groups
        return {
            "scheduler": self.scheduler.state_dict(),
            "groups": [{key: group[key] for key in _MOVED if key in group} for group in groups],
        }

    def load_state_dict(self, state: State) -> None:
        """Continue from there, whatever making the scheduler has done to the rates."""
        groups = self.scheduler.optimizer.param_groups
        if len(groups) != len(state["groups"]):
            raise UserError(
                f"the saved schedule has {len(state['groups'])} parameter groups, the optimizer "
                f"{len(groups)}; resume with the optimizer and layerwise rates it was saved with"
            )
        self.scheduler.load_state_dict(dict(state["scheduler"]))
        for group, saved in zip(groups, state["groups"], strict=True):
            group.update(saved)
        # The optimizer did step, in the process before: torch warns of a first rate left out.
        setattr(self.scheduler.optimizer, "_opt_called", True)  # noqa: B010


def build_schedule(
    optimizer: Optimizer,
    type: type[LRScheduler] | str,
    kwargs: Mapping[str, Any],
    *,
    unit: Unit = "epoch",
    length: Length | None = None,
) -> Schedule:
    """A schedule of this class; a string names one of torch's.

    `schedulers` in the arguments (of SequentialLR, ChainedScheduler) holds further schedulers, each
    `{scheduler_type: LinearLR, scheduler_kwargs: {…}}`.
    """
    scheduler = _make(optimizer, type, kwargs, (length or Length()).in_units(unit))
    return Schedule(scheduler, unit, _wants_metric(scheduler))


def scheduler_class(name: str) -> type[LRScheduler]:
    """The scheduler of torch with this name."""
    names = [word for word in lr_scheduler.__all__ if word != "LRScheduler"]
    if name not in names:
        near = nearest(name, names)
        raise UserError(
            f"torch has no scheduler {name!r}",
            where="scheduler_type",
            todo=f"Did you mean {near}?" if near else f"It has {', '.join(names)}.",
        )
    found: type[LRScheduler] = getattr(lr_scheduler, name)
    return found


def _make(
    optimizer: Optimizer,
    kind: type[LRScheduler] | str,
    kwargs: Mapping[str, Any],
    units: int | None,
) -> LRScheduler:
    part = scheduler_class(kind) if isinstance(kind, str) else kind
    arguments = _with_length(part, kwargs, units)
    inner = arguments.get("schedulers")
    if inner is not None and takes(part, "schedulers"):
        spans = _spans(arguments.get("milestones"), units, len(inner))
        arguments["schedulers"] = [
            _inner(optimizer, node, span) for node, span in zip(inner, spans, strict=True)
        ]
    if issubclass(part, ChainedScheduler):
        schedulers = arguments.pop("schedulers", [])
        return construct(part, schedulers, {**arguments, "optimizer": optimizer}, where="scheduler")
    return construct(part, optimizer, arguments, where="scheduler")


def _spans(milestones: Any, units: int | None, count: int) -> list[int | None]:
    """How long each inner scheduler runs: between milestones, or all the time without them."""
    if units is None or not milestones or len(milestones) != count - 1:
        return [units] * count
    borders = [0, *milestones, units]
    return [after - before for before, after in pairwise(borders)]


def _inner(optimizer: Optimizer, node: Any, units: int | None) -> LRScheduler:
    """A scheduler inside another: built already, or its type and arguments."""
    if isinstance(node, LRScheduler):
        return node
    if not isinstance(node, Mapping) or "scheduler_type" not in node:
        raise UserError(
            "an inner scheduler is written {scheduler_type: NAME, scheduler_kwargs: {…}}, "
            f"not {node!r}",
            where="scheduler_kwargs.schedulers",
        )
    return _make(optimizer, node["scheduler_type"], node.get("scheduler_kwargs") or {}, units)


def _with_length(part: type, kwargs: Mapping[str, Any], units: int | None) -> dict[str, Any]:
    """The arguments, with the run's length where the scheduler wants one and none is given."""
    arguments = dict(kwargs)
    given: Sequence[str] = ("total_steps", "T_max", "epochs", "steps_per_epoch")
    if units is None or any(name in arguments for name in given):
        return arguments
    for name in _LENGTHS:
        if takes(part, name):
            arguments[name] = units
    return arguments


def _wants_metric(scheduler: LRScheduler) -> bool:
    """Whether `step` cannot be called without a value."""
    parameters = inspect.signature(scheduler.step).parameters.values()
    return any(parameter.default is inspect.Parameter.empty for parameter in parameters)
