"""Learning-rate schedules with one face, whichever class of torch stands behind them.

A schedule says when it moves (after each epoch or each step) and whether it wants a metric; the
hook that owns it does the rest. Its state holds the optimizer's current rates as well, because
torch's schedulers compute the next rate from the last one and change it when they are made. How
long the run is gets filled in where a scheduler asks for it and the config is silent.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import ChainedScheduler, LRScheduler, OneCycleLR

from cvtrainer.core.catalog import SCHEDULERS
from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.optim.construct import construct, takes
from cvtrainer.optim.schedules import kinds
from cvtrainer.optim.schedules.plateau import Mode, PlateauScheduler
from cvtrainer.optim.schedules.scheduler import CurveScheduler
from cvtrainer.optim.schedules.warmup import length_in_steps, read_warmup
from cvtrainer.protocols import State

Unit = Literal["epoch", "step"]
SchedulerType = Callable[..., LRScheduler]
"""A class of schedulers, or a function that makes one; the optimizer comes first."""

_OWN = "cvtrainer.optim.schedules"
_LENGTHS = ("total_steps", "T_max")
_MOVED = (
    *("lr", "initial_lr", "max_lr", "min_lr"),
    *("momentum", "initial_momentum", "base_momentum", "max_momentum", "betas"),
)


@dataclass(frozen=True)
class Length:
    """How long the run is, as far as it is known."""

    epochs: int | None = None
    steps: int | None = None
    per_epoch: int | None = None

    def in_units(self, unit: Unit) -> int | None:
        return self.epochs if unit == "epoch" else self.steps

    @property
    def steps_per_epoch(self) -> int | None:
        return self.per_epoch or (self.steps // self.epochs if self.steps and self.epochs else None)


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)


class Schedule:
    """Moves the rates of one optimizer."""

    def __init__(
        self,
        scheduler: LRScheduler,
        unit: Unit = "epoch",
        needs_metric: bool = False,
        tell: Callable[[str], None] = _warn,
    ) -> None:
        self.scheduler = scheduler
        self.unit: Unit = unit
        self.needs_metric = needs_metric
        self.tell = tell
        self._told = False
        self._held = 0

    def advance(self, metric: float | None = None, mode: Mode = "auto") -> None:
        """One epoch or one step is over; `mode` says which way the metric is better."""
        if not self.needs_metric:
            if not self._at_its_end():
                self.scheduler.step()
            return
        if metric is None:
            raise UserError(
                f"{type(self.scheduler).__name__} follows a metric and was given none; name one "
                "that the stage measures"
            )
        if isinstance(self.scheduler, PlateauScheduler):
            self.scheduler.judge(metric, mode)
        else:
            step: Any = self.scheduler.step
            step(metric)

    def _at_its_end(self) -> bool:
        """A schedule with an end holds its last value from there on, and says so once."""
        length = _length_of(self.scheduler)
        if not length:
            return False
        done = self.scheduler.last_epoch + self._held
        # torch's one-cycle has its last value a step earlier; going on, it rises and then raises.
        if done < length - isinstance(self.scheduler, OneCycleLR):
            return False
        self._held += 1
        if done >= length and not self._told:
            self._told = True
            self.tell(
                f"the schedule is over after {length:,} {self.unit}s and the run goes on; its last "
                "rates are held"
            )
        return True

    def warm_up(self) -> None:
        """One step is over, and the schedule itself counts epochs: a warm-up counts steps."""
        if isinstance(self.scheduler, CurveScheduler):
            self.scheduler.warm_up()

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
    type: SchedulerType | str,
    kwargs: Mapping[str, Any],
    *,
    unit: Unit = "epoch",
    length: Length | None = None,
    tell: Callable[[str], None] = _warn,
) -> Schedule:
    """A schedule of this class; a string is a short name or names one of torch's.

    `schedulers` in the arguments (of SequentialLR, ChainedScheduler) holds further schedulers, each
    `{scheduler_type: LinearLR, scheduler_kwargs: {…}}`. `tell` is told what will not be as written.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        scheduler = _make(optimizer, type, kwargs, _Span.of(length or Length(), unit))
    for text in dict.fromkeys(str(one.message) for one in told):
        tell(text)
    return Schedule(scheduler, unit, _wants_metric(scheduler), tell)


def scheduler_class(name: str) -> SchedulerType:
    """The scheduler with this short name, or torch's of this name."""
    target = SCHEDULERS.get(name, plugins=False)
    if target is not None:
        added = SCHEDULERS.registered_object(target)
        if added is not None:
            return added
        module, _, attribute = target.partition(":")
        name = attribute
        if module == _OWN:
            own: SchedulerType = getattr(kinds, attribute)
            return own
    names = [word for word in lr_scheduler.__all__ if word != "LRScheduler"]
    if name not in names:
        near = nearest(name, [*names, *SCHEDULERS.names()])
        raise UserError(
            f"there is no scheduler {name!r}",
            where="scheduler_type",
            todo=f"Did you mean {near}?"
            if near
            else f"There are {', '.join([*SCHEDULERS.names(), *names])}.",
        )
    found: type[LRScheduler] = getattr(lr_scheduler, name)
    return found


@dataclass(frozen=True)
class _Span:
    """What a scheduler may have to know: its unit, how many of them it runs, the run's steps."""

    unit: Unit
    units: int | None
    steps_per_epoch: int | None
    steps: int | None

    @staticmethod
    def of(length: Length, unit: Unit) -> _Span:
        return _Span(unit, length.in_units(unit), length.steps_per_epoch, length.steps)


def _make(
    optimizer: Optimizer, kind: SchedulerType | str, kwargs: Mapping[str, Any], span: _Span
) -> LRScheduler:
    part: SchedulerType = scheduler_class(kind) if isinstance(kind, str) else kind
    arguments = _with_length(part, kwargs, span.units)
    inner = arguments.get("schedulers")
    if inner is not None and takes(part, "schedulers"):
        spans = _spans(arguments.get("milestones"), span, len(inner))
        arguments["schedulers"] = [
            _inner(optimizer, node, one) for node, one in zip(inner, spans, strict=True)
        ]
    if part.__module__ == kinds.__name__:
        return _own(part, optimizer, arguments, span)
    first: Any = optimizer
    if isinstance(part, type) and issubclass(part, ChainedScheduler):
        first, arguments = arguments.pop("schedulers", []), {**arguments, "optimizer": optimizer}
    made: Any = construct(part, first, arguments, where="scheduler")
    scheduler: LRScheduler = made
    return scheduler


def _own(
    part: SchedulerType, optimizer: Optimizer, arguments: dict[str, Any], span: _Span
) -> LRScheduler:
    """One of ours: a warm-up counts steps, whatever the schedule counts."""
    known = {"steps_per_epoch": span.steps_per_epoch, "total_steps": span.steps}
    if "warmup" in arguments:
        arguments["warmup"] = read_warmup(arguments["warmup"], **known)
    if isinstance(arguments.get("warmup_steps"), str):
        arguments["warmup_steps"] = length_in_steps(arguments["warmup_steps"], **known)
    made = construct(part, optimizer, arguments, where="scheduler")
    if isinstance(made, CurveScheduler):
        made.fit(span.unit, span.steps_per_epoch or 1)
    return made


def _spans(milestones: Any, span: _Span, count: int) -> list[_Span]:
    """How long each inner scheduler runs: between milestones, or all the time without them."""
    if span.units is None or not milestones or len(milestones) != count - 1:
        return [span] * count
    borders = [0, *milestones, span.units]
    return [replace(span, units=after - before) for before, after in pairwise(borders)]


def _inner(optimizer: Optimizer, node: Any, span: _Span) -> LRScheduler:
    """A scheduler inside another: built already, or its type and arguments."""
    if isinstance(node, LRScheduler):
        return node
    if not isinstance(node, Mapping) or "scheduler_type" not in node:
        raise UserError(
            "an inner scheduler is written {scheduler_type: NAME, scheduler_kwargs: {…}}, "
            f"not {node!r}",
            where="scheduler_kwargs.schedulers",
        )
    return _make(optimizer, node["scheduler_type"], node.get("scheduler_kwargs") or {}, span)


def _with_length(
    part: SchedulerType, kwargs: Mapping[str, Any], units: int | None
) -> dict[str, Any]:
    """The arguments, with the run's length where the scheduler wants one and none is given."""
    arguments = dict(kwargs)
    if units is None:
        return arguments
    if arguments.get("total_steps", units) != units:
        warnings.warn(
            f"scheduler_kwargs.total_steps is {arguments['total_steps']}, the run has {units}",
            stacklevel=2,
        )
    if any(name in arguments for name in (*_LENGTHS, "epochs", "steps_per_epoch")):
        return arguments
    for name in _LENGTHS:
        if takes(part, name):
            arguments[name] = units
    return arguments


def _length_of(scheduler: LRScheduler) -> int | None:
    """After how many units it is over, where it has an end."""
    if isinstance(scheduler, CurveScheduler):
        return scheduler.settings.get("total_steps")
    return scheduler.total_steps if isinstance(scheduler, OneCycleLR) else None


def _wants_metric(scheduler: LRScheduler) -> bool:
    """Whether `step` cannot be called without a value."""
    if isinstance(scheduler, PlateauScheduler):
        return True
    parameters = inspect.signature(scheduler.step).parameters.values()
    return any(parameter.default is inspect.Parameter.empty for parameter in parameters)
