"""What an operating point is for, as people write it: `precision=0.95`, `coverage=0.9`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cvtrainer.core.errors import UserError


class Aim(Enum):
    """What is reached; `PRECISION` and `RECALL` by a threshold for each class, `ERROR` (among what
    is answered) and `COVERAGE` (how much is) by one for all."""

    CALIBRATED = "calibrated"
    PRECISION = "precision"
    RECALL = "recall"
    ERROR = "error"
    COVERAGE = "coverage"

    @property
    def per_class(self) -> bool:
        return self in (Aim.PRECISION, Aim.RECALL)


@dataclass(frozen=True)
class Goal:
    """`wanted` is a share; of `CALIBRATED` it says nothing."""

    aim: Aim
    wanted: float = 0.0

    def refuse_where_senseless(self, *, one_class: bool, has_shares: bool) -> None:
        """What can be wanted depends on one class per sample, and on scores that are shares."""
        todo = "Write precision=0.95 or recall=0.9."
        if self.aim in (Aim.ERROR, Aim.COVERAGE) and not one_class:
            what = f"{self.aim.value} is a goal for one class per sample"
            raise UserError(what, where="--operate", todo=todo)
        if self.aim is Aim.CALIBRATED and not has_shares:
            what = "the scores of found objects are not calibrated"
            raise UserError(what, where="--operate", todo=todo)

    def __str__(self) -> str:
        return self.aim.value if self.aim is Aim.CALIBRATED else f"{self.aim.value}={self.wanted:g}"


def goal_of(text: str) -> Goal:
    """From `--operate`."""
    name, _, value = text.partition("=")
    known = {one.value: one for one in Aim}
    todo = "Write precision=0.95, recall=0.9, error=0.02, coverage=0.9 or calibrated."
    if name not in known or (known[name] is Aim.CALIBRATED) is bool(value):
        raise UserError(f"{text!r} is no goal", where="--operate", todo=todo)
    aim = known[name]
    if aim is Aim.CALIBRATED:
        return Goal(aim)
    try:
        wanted = float(value)
    except ValueError:
        wanted = -1.0
    if not 0 < wanted < 1 and not (wanted == 1 and aim is not Aim.ERROR):
        raise UserError(f"{value!r} is no share between 0 and 1", where="--operate", todo=todo)
    return Goal(aim, wanted)
