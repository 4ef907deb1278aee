"""How long something lasts: `90ep`, `5%`, `20000st`, or a plain number of epochs.

Durations are written in the unit that fits the thought and become optimizer steps once, before the
loop starts; the loop itself only counts steps.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import Enum

from cvtrainer.core.errors import UserError

_FORM = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(epochs?|ep|steps?|st|%)?\s*", re.IGNORECASE)


class Unit(Enum):
    """What a duration is counted in."""

    EPOCHS = "ep"
    STEPS = "st"
    PERCENT = "%"


@dataclass(frozen=True)
class Duration:
    """An amount and its unit."""

    amount: float
    unit: Unit

    def __str__(self) -> str:
        return f"{self.amount:g}{self.unit.value}"

    def to_steps(self, *, steps_per_epoch: int, total_steps: int | None = None) -> int:
        """Optimizer steps, at least one unless the amount is zero; a percentage needs the total."""
        if self.unit is Unit.STEPS:
            exact = self.amount
        elif self.unit is Unit.EPOCHS:
            exact = self.amount * steps_per_epoch
        elif total_steps is None:
            raise UserError(f"{self} is a share of the run, but the run's own length is asked for")
        else:
            exact = self.amount / 100 * total_steps
        return 0 if exact == 0 else max(1, math.floor(exact + 0.5))


def parse_duration(value: object) -> Duration:
    """Read a duration; a plain number counts epochs."""
    text = str(value)
    match = _FORM.fullmatch(text) if isinstance(value, (int, float, str)) else None
    if match is None or isinstance(value, bool):
        raise UserError(
            f"{text!r} is no duration", todo="Write 90ep, 5%, 20000st, or a number of epochs."
        )
    amount, unit = float(match[1]), _unit(match[2])
    if unit is Unit.STEPS and not amount.is_integer():
        raise UserError(f"{text!r} is not a whole number of steps")
    if unit is Unit.PERCENT and amount > 100:
        raise UserError(f"{text!r} is more than the whole run")
    return Duration(amount, unit)


def _unit(word: str | None) -> Unit:
    if word is None or word.lower().startswith("e"):
        return Unit.EPOCHS
    return Unit.PERCENT if word == "%" else Unit.STEPS
