"""The threshold of each class that reaches a goal among known answers, or none.

Answers of the same score stand or fall together. A threshold lies halfway between the last score
that is answered and the next one that is not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.deploy.operating.evidence import Answers
from cvtrainer.deploy.operating.goal import Aim, Goal

Array = NDArray[Any]

NEVER = np.inf
_ROUNDING = 1e-9


def thresholds_of(answers: Answers, goal: Goal, told_from: float | None) -> Array:
    """One for each class; `NEVER` where no threshold gives the wanted precision, or error."""
    classes = len(answers.truths)
    usual = 0.0 if told_from is None else told_from
    if goal.aim is Aim.CALIBRATED:
        return np.full(classes, usual)
    if not goal.aim.per_class:
        return np.full(classes, _of_all(answers, goal))
    return np.asarray([_of_class(answers, kind, goal, usual) for kind in range(classes)])


def best_of_class(answers: Answers, kind: int, aim: Aim) -> float | None:
    """The most precision or recall that any threshold gives; None where there is none."""
    cuts = _Cuts(answers.chosen(answers.kind == kind))
    if aim is Aim.RECALL:
        truths = int(answers.truths[kind])
        return float(cuts.right.max(initial=0) / truths) if truths else None
    return float((cuts.right / cuts.answered).max()) if len(cuts.answered) else None


class _Cuts:
    """Where the answers can be cut off, highest first: so many answered, so many right."""

    def __init__(self, answers: Answers) -> None:
        order = np.argsort(-answers.score, kind="stable")
        scores = answers.score[order]
        last = np.flatnonzero(np.append(np.diff(scores) != 0, True)) if len(scores) else order
        self.answered = last + 1
        self.right = np.cumsum(answers.right[order])[last]
        self._scores = scores[last]

    def threshold(self, cut: int) -> float:
        below = self._scores[cut + 1] if cut + 1 < len(self._scores) else 0.0
        return float((self._scores[cut] + below) / 2)


def _of_class(answers: Answers, kind: int, goal: Goal, usual: float) -> float:
    cuts = _Cuts(answers.chosen(answers.kind == kind))
    truths = int(answers.truths[kind])
    if goal.aim is Aim.RECALL:
        reached = np.flatnonzero(cuts.right >= goal.wanted * truths - _ROUNDING)
        # Where nothing can be missed, or too much is missed at any score, nothing is changed.
        return cuts.threshold(int(reached[0])) if truths and len(reached) else usual
    reached = np.flatnonzero(cuts.right >= goal.wanted * cuts.answered - _ROUNDING)
    return cuts.threshold(int(reached[-1])) if len(reached) else NEVER


def _of_all(answers: Answers, goal: Goal) -> float:
    """One for all classes, of the best answer of each sample."""
    cuts = _Cuts(answers)
    if goal.aim is Aim.COVERAGE:
        reached = np.flatnonzero(cuts.answered >= goal.wanted * answers.samples - _ROUNDING)
        return cuts.threshold(int(reached[0])) if len(reached) else NEVER
    wrong = cuts.answered - cuts.right
    reached = np.flatnonzero(wrong <= goal.wanted * cuts.answered + _ROUNDING)
    return cuts.threshold(int(reached[-1])) if len(reached) else NEVER
