"""What is tried when an 8-bit program misses its limit, in a fixed order, until one passes.

Each rung changes the best scheme so far in one way and is scored by whoever wants the program. A
change that does not help is taken back; layers become float last, for that costs speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.program import Program
from cvtrainer.deploy.quantize.calibrators import CALIBRATORS
from cvtrainer.deploy.quantize.measured import Measured
from cvtrainer.deploy.quantize.ptq import rounded
from cvtrainer.deploy.quantize.scheme import Scheme
from cvtrainer.deploy.quantize.sensitivity import Sensitivity, sensitivities

AS_ASKED = "as asked"


class Score(NamedTuple):
    """`worse` orders the rungs: how many times what it may lose the `worst` metric loses."""

    metrics: dict[str, float]
    worse: float
    passes: bool
    worst: str = ""

    def plain(self) -> dict[str, Any]:
        """For a file."""
        return {
            "metrics": self.metrics,
            "worse": self.worse,
            "worst": self.worst,
            "passes": self.passes,
        }


class Rung(NamedTuple):
    """A change of the scheme; `float_operators` are those it leaves float, by name."""

    name: str
    scheme: Scheme
    left_float: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tried:
    """A rung and what it gave; `file` is what its artefact gave, where that did not pass though
    the program did."""

    rung: Rung
    score: Score
    file: Score | None = None

    def plain(self) -> dict[str, Any]:
        """For a file."""
        told = {
            "rung": self.rung.name,
            "scheme": self.rung.scheme.plain(),
            **self.score.plain(),
        }
        if self.rung.left_float:
            told["float"] = list(self.rung.left_float)
        if self.file is not None:
            told["file"] = self.file.plain()
        return told


class Training(Protocol):
    """Somebody who can train the network on with its rounding in it."""

    @property
    def label(self) -> str: ...

    def program(self, scheme: Scheme) -> Program: ...


@dataclass
class Ladder:
    """Climbs from a scheme whose score is known; `judge` scores a module that gives the program's
    outputs as rounded, `say` tells of each. `training` is tried before operators become float."""

    program: Program
    sample: Sequence[Tensor]
    judge: Callable[[nn.Module], Score]
    say: Callable[[str], None]
    measured: Measured = field(default_factory=Measured)
    training: Training | None = None
    tried: list[Tried] = field(default_factory=list)
    sensitive: list[Sensitivity] = field(default_factory=list)

    def passing(self, scheme: Scheme, score: Score) -> Iterator[Program]:
        """Each program that passes, as far as more are asked for."""
        best = self._noted(Rung(AS_ASKED, scheme), score)
        for changes in (granularity, calibrators, _equalised, _corrected):
            for rung in changes(best.rung.scheme, scheme):
                best, made = self._climbed(rung, best)
                if made is not None:
                    yield made
        if self.training is not None:
            learnt = self._learnt(self.training, scheme)
            if learnt is not None:
                yield learnt
        self.sensitive = sensitivities(self.program, self.sample, best.rung.scheme, self.measured)
        for rung in self._floating(best.rung.scheme):
            best, made = self._climbed(rung, best)
            if made is not None:
                yield made

    def _learnt(self, training: Training, scheme: Scheme) -> Program | None:
        """The program of a network that was trained on, where it passes."""
        try:
            made = training.program(scheme)
        except UserError as error:  # not every network and task can be trained with rounding
            self.say(f"{training.label}: {error}")
            return None
        score = self.judge(made.exported.module())
        self._noted(Rung(training.label, scheme), score)
        return made if score.passes else None

    def _climbed(self, rung: Rung, best: Tried) -> tuple[Tried, Program | None]:
        """The better of both, and the rung's program where it passes."""
        made = rounded(self.program, self.sample, rung.scheme, self.measured)
        with made.running() as module:
            tried = self._noted(rung, self.judge(module))
        better = best if best.score.worse <= tried.score.worse else tried
        return better, made.program() if tried.score.passes else None

    def _noted(self, rung: Rung, score: Score) -> Tried:
        self.tried.append(Tried(rung, score))
        self.say(last_line(self.tried))
        return self.tried[-1]

    def _floating(self, scheme: Scheme) -> Iterator[Rung]:
        """1, 2, 4 ... of the most sensitive operators; never all."""
        count = 1
        while count < len(self.sensitive):
            chosen = self.sensitive[:count]
            names = frozenset(node for one in chosen for node in one.nodes)
            told = tuple(one.name for one in chosen)
            noun = "operator" if count == 1 else "operators"
            yield Rung(
                f"{count} most sensitive {noun} float",
                replace(scheme, float_operators=scheme.float_operators | names),
                told,
            )
            count *= 2


def last_line(tried: Sequence[Tried]) -> str:
    """What the newest rung gave, for whoever waits."""
    rung, score = tried[-1].rung, tried[-1].score
    figures = ", ".join(f"{name} {value:.4f}" for name, value in score.metrics.items())
    missed = f"{score.worst or 'it'} loses {score.worse:.2f} of what it may"
    return f"rung {len(tried)}, {rung.name}: {figures}; {'passes' if score.passes else missed}"


def granularity(scheme: Scheme, asked: Scheme) -> Iterable[Rung]:
    """Weights rounded the other way."""
    other = replace(scheme, per_channel=not scheme.per_channel)
    return [Rung(f"weights per {'channel' if other.per_channel else 'tensor'}", other)]


def calibrators(scheme: Scheme, asked: Scheme) -> Iterable[Rung]:
    """Each of the others."""
    others = [name for name in CALIBRATORS if name != scheme.method]
    return [Rung(f"calibrator {name}", replace(scheme, method=name)) for name in others]


def _equalised(scheme: Scheme, asked: Scheme) -> Iterable[Rung]:
    """Also with the calibrator asked for: what was best for other weights may not be for these."""
    if scheme.equalise:
        return
    yield Rung("equalisation", replace(scheme, equalise=True))
    if scheme.method != asked.method:
        again = replace(scheme, equalise=True, method=asked.method)
        yield Rung(f"equalisation, calibrator {asked.method}", again)


def _corrected(scheme: Scheme, asked: Scheme) -> Iterable[Rung]:
    made = replace(scheme, correct_bias=True)
    return [] if scheme.correct_bias else [Rung("bias correction", made)]
