"""A network's program in floats and in 8-bit numbers, each made once for all targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.measured import Measured
from cvtrainer.deploy.quantize.ptq import quantised
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.targets.target import Target, rounds_itself
from cvtrainer.jobs.export.feed import Feed
from cvtrainer.jobs.export.wanted import Wanted
from cvtrainer.jobs.load import Trained


class Programs:
    """The forms of a `captured` program; 8-bit numbers are calibrated on `sample`.

    Without a sample, one is drawn from the training data the first time that it is needed.
    """

    def __init__(
        self,
        program: Program,
        trained: Trained,
        feed: Feed,
        wanted: Wanted,
        sample: Sequence[Tensor] | None,
    ) -> None:
        self.captured = program
        self.drawn = sample
        self.measured = Measured()
        self._trained = trained
        self._feed = feed
        self._wanted = wanted
        self._rounded: dict[bool, Program] = {}
        """By whether zero points are zero."""

    def of(self, target: Target, precision: str) -> Program:
        """In that precision; the captured one where the target itself rounds."""
        if precision != "int8" or rounds_itself(target, self._wanted.scheme):
            return replace(self.captured, precision=precision)
        key = target.capabilities.symmetric
        if key not in self._rounded:
            given = (self.captured, self.sample(), self.scheme(target), self.measured)
            self._rounded[key] = quantised(*given)
        return self._rounded[key]

    def keep(self, target: Target, program: Program) -> None:
        """Give this one to targets that round as that one does."""
        self._rounded[target.capabilities.symmetric] = program

    def scheme(self, target: Target) -> Scheme:
        """What is asked for, as far as the target can do otherwise."""
        scheme = self._wanted.scheme
        return replace(scheme, symmetric=scheme.symmetric or target.capabilities.symmetric)

    def sample(self, takes: str | None = None) -> Sequence[Tensor]:
        """The calibration sample as a graph takes it; without a front it is drawn once."""
        own = self._feed.takes
        if takes not in (None, own):
            return self._draw(takes)
        if self.drawn is None:
            self.drawn = self._draw(own)
        return self.drawn

    def _draw(self, takes: str) -> Sequence[Tensor]:
        return list(self._feed.sample(self._trained, self._wanted.sample, takes))
