"""The beginning of a run: rates and momentum come in over the first optimizer steps.

A warm-up counts optimizer steps, whatever the curve behind it counts, and leads to the rate that
the curve has at that moment. Biases may come down from a high rate while all others rise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

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


def read_warmup(
    given: Warmup | Mapping[str, Any] | None, *, steps_per_epoch: int | None = None
) -> Warmup:
    """A warm-up as a config writes it: the fields of `Warmup`, or `epochs: 3.0` for `steps`."""
    if given is None or isinstance(given, Warmup):
        return given or Warmup()
    if not isinstance(given, Mapping):
        raise UserError(f"is a mapping such as {{steps: 500}}, not {given!r}", where=_WHERE)
    words = dict(given)
    epochs = words.pop("epochs", None)
    known = [*(field.name for field in fields(Warmup)), "epochs"]
    for word in words:
        if word not in known:
            near = nearest(word, known)
            todo = f"Did you mean {near}?" if near else f"It takes {', '.join(known)}."
            raise UserError(f"takes no {word!r}", where=_WHERE, todo=todo)
    if epochs is not None:
        if steps_per_epoch is None or "steps" in words:
            raise UserError(
                "epochs need a run of known length and no steps beside them", where=_WHERE
            )
        words["steps"] = round(epochs * steps_per_epoch)
    return Warmup(**words)
