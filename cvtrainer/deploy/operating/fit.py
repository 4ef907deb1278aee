"""An operating point of known answers, and figures that are not flattered by having found it there.

The point itself is found on all samples. What it is worth is measured on samples that it was not
found on: each of five parts is answered with what the other four give (cross-fitting), so the
figures are those of this way of finding a point, with four fifths of the samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.operating.evidence import Answers, Evidence
from cvtrainer.deploy.operating.goal import Aim, Goal
from cvtrainer.deploy.operating.temperature import calibration_error
from cvtrainer.deploy.operating.thresholds import NEVER, best_of_class, thresholds_of
from cvtrainer.telling.operating import Operating
from cvtrainer.telling.reading import class_name

Array = NDArray[Any]

_PARTS = 5
_SEED = 0
_SURE = 1.96
"""Standard deviations on both sides of 95 of 100 intervals."""
_NAMED = 8


@dataclass(frozen=True)
class Point:
    """`told` is for the contract: the point, and its `measured` figures beside those without it."""

    operating: Operating
    told: dict[str, Any]
    notes: tuple[str, ...]


def point_of(evidence: Evidence, goal: Goal, classes: Sequence[str] | None) -> Point:
    """The operating point that reaches the goal on these samples."""
    count = len(evidence)
    if count < 2:
        raise UserError(f"an operating point cannot be found on {count} samples", where="--operate")
    whole = np.arange(count)
    temperature = evidence.temperature(whole)
    goal.refuse_where_senseless(
        one_class=evidence.told_from is None, has_shares=temperature is not None
    )
    answers = evidence.answers(whole, temperature)
    levels = thresholds_of(answers, goal, evidence.told_from)
    keeps = goal.aim is Aim.CALIBRATED
    thresholds = None if keeps else tuple(None if one == NEVER else float(one) for one in levels)
    operating = Operating(temperature or 1.0, thresholds)
    parts = _parts(evidence, min(_PARTS, count))
    after, before = _crossed(evidence, goal, parts), _usual(evidence, whole)
    told = {
        **operating.plain(),
        "goal": str(goal),
        "samples": count,
        "parts": len(parts),
        "measured": _figures(after, answers),
        "before": _figures(before, answers),
        "classes": _of_classes(after, answers, classes),
    }
    if temperature is not None:
        told["calibration"] = _calibrations(evidence, parts, whole)
    notes = _notes(answers, levels, goal, classes)
    return Point(operating, {**told, "notes": list(notes)}, tuple(notes))


def judged(
    evidence: Evidence, operating: Operating, classes: Sequence[str] | None
) -> dict[str, Any]:
    """What a point that stands already is worth on these samples, beside them without it."""
    whole = np.arange(len(evidence))
    has_shares = evidence.temperature(whole) is not None
    temperature = operating.temperature if has_shares else None
    answers = evidence.answers(whole, temperature)
    levels = np.full(evidence.classes, evidence.told_from or 0.0)
    if operating.thresholds is not None:
        given = [NEVER if one is None else one for one in operating.thresholds]
        levels = np.asarray([*given, *[NEVER] * evidence.classes])[: evidence.classes]
    after = answers.chosen(answers.score >= levels[answers.kind])
    told = {
        "samples": len(whole),
        "measured": _figures(after, answers),
        "before": _figures(_usual(evidence, whole), answers),
        "classes": _of_classes(after, answers, classes),
    }
    if temperature is not None:
        told["calibration"] = _calibration(
            evidence.calibration(whole, None), evidence.calibration(whole, temperature), len(whole)
        )
    return told


def _parts(evidence: Evidence, count: int) -> list[Array]:
    """Numbers of samples, each class spread over all parts; the same every time."""
    order = np.random.default_rng(_SEED).permutation(len(evidence))
    if evidence.strata is not None:
        order = order[np.argsort(evidence.strata[order], kind="stable")]
    return [np.sort(order[first::count]) for first in range(count)]


def _crossed(evidence: Evidence, goal: Goal, parts: Sequence[Array]) -> Answers:
    """What is answered of each part at the point of the others."""
    given: Answers | None = None
    for number, part in enumerate(parts):
        others = np.concatenate([one for place, one in enumerate(parts) if place != number])
        temperature = evidence.temperature(others)
        levels = thresholds_of(evidence.answers(others, temperature), goal, evidence.told_from)
        answers = evidence.answers(part, temperature)
        mine = answers.chosen(answers.score >= levels[answers.kind])
        given = mine if given is None else given.joined(mine)
    assert given is not None
    return given


def _usual(evidence: Evidence, whole: Array) -> Answers:
    """What is answered without an operating point."""
    answers = evidence.answers(whole, None)
    return answers.chosen(answers.score >= (evidence.told_from or 0.0))


def _figures(given: Answers, every: Answers) -> dict[str, float | None]:
    """`coverage` is the share of samples with an answer, `error` the share of wrong answers."""
    answered, right = len(given.kind), int(given.right.sum())
    truths = int(every.truths.sum())
    return {
        "answers": answered,
        "coverage": len(np.unique(given.sample)) / every.samples,
        "precision": _share(right, answered),
        "precision_at_least": _at_least(right, answered),
        "error": _share(answered - right, answered),
        "recall": _share(right, truths),
    }


def _of_classes(
    given: Answers, every: Answers, classes: Sequence[str] | None
) -> list[dict[str, Any]]:
    count = len(every.truths)
    answered = np.bincount(given.kind, minlength=count)
    right = np.bincount(given.kind, weights=given.right, minlength=count).astype(int)
    return [
        {
            "class": class_name(kind, classes),
            "samples": int(every.truths[kind]),
            "answers": int(answered[kind]),
            "precision": _share(right[kind], answered[kind]),
            "precision_at_least": _at_least(int(right[kind]), int(answered[kind])),
            "recall": _share(right[kind], every.truths[kind]),
        }
        for kind in range(count)
    ]


def _calibrations(evidence: Evidence, parts: Sequence[Array], whole: Array) -> dict[str, float]:
    """Surprise and calibration error, as they were and at temperatures of other samples."""
    total, pieces = 0.0, []
    for number, part in enumerate(parts):
        others = np.concatenate([one for place, one in enumerate(parts) if place != number])
        more, piece = evidence.calibration(part, evidence.temperature(others))
        total += more
        pieces.append(piece)
    before = evidence.calibration(whole, None)
    return _calibration(before, (total, np.concatenate(pieces)), len(whole))


def _calibration(
    before: tuple[float, Array], after: tuple[float, Array], count: int
) -> dict[str, float]:
    return {
        "error_before": calibration_error(before[1][:, 0], before[1][:, 1]),
        "error": calibration_error(after[1][:, 0], after[1][:, 1]),
        "nll_before": before[0] / count,
        "nll": after[0] / count,
    }


def _notes(answers: Answers, levels: Array, goal: Goal, classes: Sequence[str] | None) -> list[str]:
    """What could not be reached, and for which classes."""
    if goal.aim is Aim.CALIBRATED:
        return []
    if not goal.aim.per_class:
        return (
            [] if np.isfinite(levels).all() else [f"no threshold gives {goal}: nothing is answered"]
        )
    found = []
    kinds = range(len(levels))
    empty = [kind for kind in kinds if not answers.truths[kind]]
    best = {kind: best_of_class(answers, kind, goal.aim) for kind in kinds if kind not in empty}
    missed = [kind for kind, most in best.items() if most is None or most < goal.wanted - 1e-9]
    ends = "never answered" if goal.aim is Aim.PRECISION else "answered as without a goal"
    if empty:
        found.append(f"without samples, so {ends}: {_named(empty, classes)}")
    if missed:
        told = [f"{class_name(k, classes)} (at most {best[k] or 0:.3f})" for k in missed[:_NAMED]]
        more = f" and {len(missed) - _NAMED} more" if len(missed) > _NAMED else ""
        found.append(f"no threshold gives {goal}, so {ends}: {', '.join(told)}{more}")
    return found


def _named(kinds: Sequence[int], classes: Sequence[str] | None) -> str:
    more = f" and {len(kinds) - _NAMED} more" if len(kinds) > _NAMED else ""
    return ", ".join(class_name(kind, classes) for kind in kinds[:_NAMED]) + more


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None


def _at_least(right: int, answered: int) -> float | None:
    """The lower end of Wilson's interval, right 95 times in 100."""
    if not answered:
        return None
    share, square = right / answered, _SURE**2
    middle = share + square / (2 * answered)
    room = _SURE * sqrt(share * (1 - share) / answered + square / (4 * answered**2))
    return max(0.0, (middle - room) / (1 + square / answered))
