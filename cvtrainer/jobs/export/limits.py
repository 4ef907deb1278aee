"""How much worse each metric of an artefact may be than the trained model's.

Shares, of which more is better, lose points; errors, which have units, a part of what they are.
Metrics of a few objects or of one class move by chance: they are told, and nobody judges by them
unless they are asked for by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cvtrainer.core.errors import UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.jobs.export.proof import Proof

Drop = float | Mapping[str, float] | None
"""One number for all that are judged, or one for each of some; the others keep their own."""

_POINTS = {"fp32": 0.002, "fp16": 0.002, "int8": 0.005}
_PARTS = {"fp32": 0.002, "fp16": 0.005, "int8": 0.02}
"""Of an error such as `mae`, as a part of the trained model's."""
_COARSE = {
    "map": 0.02,
    "map_50": 0.015,
    "miou": 0.01,
    "dice": 0.01,
    "union_dice": 0.01,
    "boundary_f": 0.01,
    "pixel_accuracy": 0.01,
}
"""Shares that 8 bits cost more, for they ask where something is."""
_TOLD = ("map_75", "map_small", "map_medium", "map_large", "recall_100", "calibration_error")
_TOLD_OF_CLASS = "accuracy_of_"
_UNITS = ("psnr", "perplexity")
"""More is better of them too, but they are no shares."""


@dataclass(frozen=True)
class Limits:
    """For one precision; `asked` goes before what is usual."""

    precision: str
    asked: Drop = None

    def allowed(self, proof: Proof) -> dict[str, float]:
        """By how much each metric that is judged may be worse; one that nobody could measure of
        the trained model is not."""
        found: dict[str, float] = {}
        for name, value in proof.trained.items():
            limit = self._of(name, value, falls=name in proof.falling)
            if limit is not None and not math.isnan(value):
                found[name] = limit
        return found

    def failures(self, proof: Proof) -> list[str]:
        """The metrics that are worse by more, in words."""
        found = []
        for name, limit in self.allowed(proof).items():
            worse = proof.worse[name]
            if not worse <= limit:
                ours, theirs = proof.trained[name], proof.artefact[name]
                found.append(
                    f"{name} is {theirs:.4f}, the trained model's {ours:.4f}; "
                    f"it may be worse by {limit:.4g}"
                )
        return found

    def worst(self, proof: Proof) -> tuple[float, str]:
        """The metric that needs most of what it may lose, and how many times that it needs."""
        needs = {
            name: _share(proof.worse[name], limit) for name, limit in self.allowed(proof).items()
        }
        name = max(needs, key=lambda one: needs[one], default="")
        return needs.get(name, 0.0), name

    def insist_on(self, names: Mapping[str, float]) -> None:
        """Refuse what is asked of a metric that nobody measures."""
        if isinstance(self.asked, Mapping):
            for name in self.asked:
                if name not in names:
                    meant = nearest(name, names)
                    raise UserError(
                        f"there is no metric {name!r}" + (f"; {meant}?" if meant else ""),
                        where="max_drop",
                        todo=f"Measured are {', '.join(names) or 'none'}.",
                    )

    def insist_on_one(self, proof: Proof) -> None:
        """Where decisions may differ, some metric must say what that costs."""
        if not self.allowed(proof):
            told = f", only told: {', '.join(proof.trained)}" if proof.trained else ""
            raise UserError(
                f"no metric is judged{told}, so nothing would say what {self.precision} costs",
                where="meters",
                todo="Give the stage a meter of its outputs, or name one: --max_drop NAME=0.01.",
            )

    def _of(self, name: str, trained: float, *, falls: bool) -> float | None:
        if isinstance(self.asked, Mapping) and name in self.asked:
            return self.asked[name]
        if any(_is(name, word) for word in _TOLD) or _TOLD_OF_CLASS in name:
            return None
        if self.asked is not None and not isinstance(self.asked, Mapping):
            return self.asked
        if falls or any(_is(name, word) for word in _UNITS):
            return _PARTS[self.precision] * abs(trained)
        coarse = max((word for word in _COARSE if _is(name, word)), key=len, default=None)
        if self.precision != "int8" or coarse is None:
            return _POINTS[self.precision]
        return _COARSE[coarse]


def drop_of(text: str) -> Drop:
    """From the command line: `0.005`, or `map_50=0.015,miou=0.01`."""
    where = f"--max_drop {text}"
    if "=" not in text:
        return _number(text, where)
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise UserError(f"{part!r} is no metric=number", where=where, todo=_TODO)
        found[name.strip()] = _number(value, where)
    return found


_TODO = "Write 0.005, or map_50=0.015,miou=0.01."


def _number(text: str, where: str) -> float:
    try:
        found = float(text)
    except ValueError as error:
        raise UserError(f"{text!r} is no number", where=where, todo=_TODO) from error
    if not math.isfinite(found):
        raise UserError(f"{text!r} is no limit", where=where, todo=_TODO)
    return found


def _is(name: str, word: str) -> bool:
    """Also where the names of several meters got a word before them."""
    return name == word or name.endswith((f"_{word}", f"/{word}"))


def _share(worse: float, limit: float) -> float:
    """1 is just allowed; orders also what a limit of nothing, or less, refuses."""
    if math.isnan(worse):
        return math.inf
    return worse / limit if limit > 0 else 1.0 + worse - limit
