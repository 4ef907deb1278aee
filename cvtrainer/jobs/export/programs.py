"""A network's program in floats and in 8-bit numbers, each made once for all targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.measured import Measured
from cvtrainer.deploy.quantize.ptq import quantised
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.targets.target import Target, rounds_itself
from cvtrainer.jobs.export.calibration import calibration_sample
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
        spec: InputSpec,
        wanted: Wanted,
        sample: Sequence[Tensor] | None,
    ) -> None:
        self.captured = program
        self.drawn = sample
        self.measured = Measured()
        self._trained = trained
        self._spec = spec
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

    def sample(self, takes: str = "float") -> Sequence[Tensor]:
        """The calibration sample as a graph takes it; floats are drawn once."""
        if takes != "float":
            return self._draw(takes)
        if self.drawn is None:
            self.drawn = self._draw(takes)
        return self.drawn

    def _draw(self, takes: str) -> Sequence[Tensor]:
        return list(calibration_sample(self._trained, self._spec, self._wanted.sample, takes))
