"""The beginning of a run: rates and momentum come in over the first optimizer steps.

A warm-up counts optimizer steps, whatever the curve behind it counts, and leads to the rate that
the curve has at that moment. Biases may come down from a high rate while all others rise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from cvtrainer.core.durations import Unit, parse_duration
from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest

_WHERE = "scheduler_kwargs.warmup"


@dataclass(frozen=True)
class Warmup:
    """From `factor` times the rate to the rate; `constant` stays at the factor until the end.

    `bias_lr` is where groups of biases begin, `momentum` where momentum (or the first beta) does.
    With `delay` the curve waits for the end of the warm-up.
    """

    steps: int = 0
    factor: float = 0.0
    method: Literal["linear", "constant"] = "linear"
    bias_lr: float | None = None
    momentum: float | None = None
    delay: bool = False

    def __post_init__(self) -> None:
        if self.method not in ("linear", "constant"):
            raise UserError(
                f'method is {self.method!r}; it must be "linear" or "constant"', where=_WHERE
            )
        if self.steps < 0 or self.factor < 0:
            raise UserError("steps and factor must not be negative", where=_WHERE)

    def rate(self, done: int, full: float, *, bias: bool = False) -> float:
        """The learning rate after so many optimizer steps, on the way to `full`."""
        start = self.bias_lr if bias and self.bias_lr is not None else self.factor * full
        return self._ramp(done, start, full)

    def momentum_at(self, done: int, full: float) -> float:
        return full if self.momentum is None else self._ramp(done, self.momentum, full)

    def _ramp(self, done: int, start: float, end: float) -> float:
        if done >= self.steps:
            return end
        return start if self.method == "constant" else start + (end - start) * (done / self.steps)


@dataclass(frozen=True)
class WarmupWords:
    """As a config writes it; how long it is, one of three says.

    `length` is a duration: `5%` of the run, `3ep`, `500st`, or a plain number of epochs.
    """

    length: int | float | str | None = None
    steps: int | None = None
    epochs: float | None = None
    factor: float = 0.0
    method: Literal["linear", "constant"] = "linear"
    bias_lr: float | None = None
    momentum: float | None = None
    delay: bool = False

    def read(self, steps_per_epoch: int | None, total_steps: int | None) -> Warmup:
        """With its length in optimizer steps."""
        told = [self.length, self.steps, self.epochs]
        if len(told) - told.count(None) > 1:
            raise UserError("length, steps and epochs say the same; keep one", where=_WHERE)
        steps = self.steps or 0
        if self.length is not None:
            steps = length_in_steps(self.length, steps_per_epoch, total_steps)
        elif self.epochs is not None:
            if steps_per_epoch is None:
                raise UserError("epochs need a run of known length", where=_WHERE)
            steps = round(self.epochs * steps_per_epoch)
        kept = {field.name: getattr(self, field.name) for field in fields(Warmup)}
        return Warmup(**{**kept, "steps": steps})


def read_warmup(
    given: Warmup | Mapping[str, Any] | str | float | None,
    *,
    steps_per_epoch: int | None = None,
    total_steps: int | None = None,
) -> Warmup:
    """A warm-up as a config writes it: the words of `WarmupWords`, or its length alone."""
    if given is None or isinstance(given, Warmup):
        return given or Warmup()
    if not isinstance(given, Mapping):
        given = {"length": given}
    known = [field.name for field in fields(WarmupWords)]
    for word in given:
        if word not in known:
            near = nearest(word, known)
            todo = f"Did you mean {near}?" if near else f"It takes {', '.join(known)}."
            raise UserError(f"takes no {word!r}", where=_WHERE, todo=todo)
    return WarmupWords(**given).read(steps_per_epoch, total_steps)


def length_in_steps(
    value: float | str, steps_per_epoch: int | None, total_steps: int | None
) -> int:
    """A duration in optimizer steps."""
    try:
        duration = parse_duration(value)
    except UserError as error:
        raise UserError(error.what, where=_WHERE, todo=error.todo) from error
    if duration.unit is Unit.EPOCHS and steps_per_epoch is None:
        raise UserError("epochs need a run of known length", where=_WHERE)
    return duration.to_steps(steps_per_epoch=steps_per_epoch or 1, total_steps=total_steps)
