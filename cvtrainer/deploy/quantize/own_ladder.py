"""The rungs of a target that rounds by itself: what it can do otherwise, an artefact for each.

Nothing but the target knows how it rounds, so every rung is made and proven like what is delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.quantize.ladder import (
    AS_ASKED,
    Rung,
    Score,
    Tried,
    calibrators,
    granularity,
    last_line,
)
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quantize.sensitivity import Sensitivity

M = TypeVar("M")


@dataclass
class OwnLadder(Generic[M]):
    """`make` gives the artefact of a scheme with its score."""

    make: Callable[[Scheme], tuple[M, Score]]
    say: Callable[[str], None]
    tried: list[Tried] = field(default_factory=list)
    sensitive: list[Sensitivity] = field(default_factory=list)
    """Nobody looks into such a target."""

    def passing(self, scheme: Scheme, score: Score) -> Iterator[M]:
        """Each artefact as it is made, the one that passes last."""
        best = self._noted(Rung(AS_ASKED, scheme), score)
        for changes in (granularity, calibrators):
            for rung in changes(best.rung.scheme, scheme):
                try:
                    made, given = self.make(rung.scheme)
                except UserError as error:  # no tool can do everything with every network
                    self.say(f"{rung.name}: {error}")
                    continue
                tried = self._noted(rung, given)
                yield made
                best = best if best.score.worse <= given.worse else tried

    def _noted(self, rung: Rung, score: Score) -> Tried:
        self.tried.append(Tried(rung, score))
        self.say(last_line(self.tried))
        return self.tried[-1]
