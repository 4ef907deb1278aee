"""What an artefact said of samples whose truth is known, as answers that it could give.

An answer has a sample, a class, a score, and is right or not: the best class of a sample, each
label of many, each object that was found. Thresholds are looked for among answers of any kind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cvtrainer.deploy.operating.temperature import mean_surprise, temperature_of
from cvtrainer.telling.operating import tempered, tempered_each

Array = NDArray[Any]


@dataclass(frozen=True)
class Answers:
    """`truths` counts what there is to find of each class; `samples` how many were looked at."""

    sample: Array
    kind: Array
    score: Array
    right: Array
    truths: Array
    samples: int

    def joined(self, other: Answers) -> Answers:
        """Those of both."""
        return Answers(
            np.concatenate((self.sample, other.sample)),
            np.concatenate((self.kind, other.kind)),
            np.concatenate((self.score, other.score)),
            np.concatenate((self.right, other.right)),
            self.truths + other.truths,
            self.samples + other.samples,
        )

    def chosen(self, which: Array) -> Answers:
        """Some of the answers; the truths stay."""
        return replace(
            self,
            sample=self.sample[which],
            kind=self.kind[which],
            score=self.score[which],
            right=self.right[which],
        )


class Evidence(Protocol):
    """Samples `0` to `len`; `strata` are alike where samples should be spread alike."""

    classes: int
    told_from: float | None
    """The score from which one is told without an operating point; None: the best class always."""

    def __len__(self) -> int: ...

    @property
    def strata(self) -> Array | None: ...

    def temperature(self, some: Array) -> float | None:
        """What makes shares of these samples as large as they are often right; None: no shares."""

    def answers(self, some: Array, temperature: float | None) -> Answers: ...

    def calibration(self, some: Array, temperature: float | None) -> tuple[float, Array]:
        """The sum of surprises over these samples, and rows of share and truth."""


class OneOfMany:
    """Shares `[N, C]`, and the number of the right class of each sample."""

    told_from: float | None = None

    def __init__(self, shares: Array, labels: Array) -> None:
        self._shares = shares
        self._labels = labels.astype(np.int64)
        self.classes = int(shares.shape[1])

    def __len__(self) -> int:
        return len(self._shares)

    @property
    def strata(self) -> Array | None:
        return self._labels

    def temperature(self, some: Array) -> float | None:
        return temperature_of(self._shares[some], self._truth(some), exclusive=True)

    def answers(self, some: Array, temperature: float | None) -> Answers:
        shares = tempered(self._shares[some], temperature or 1.0)
        kind, labels = shares.argmax(axis=1), self._labels[some]
        truths = np.bincount(labels, minlength=self.classes)
        return Answers(some, kind, shares.max(axis=1), kind == labels, truths, len(some))

    def calibration(self, some: Array, temperature: float | None) -> tuple[float, Array]:
        shares = tempered(self._shares[some], temperature or 1.0)
        surprise = mean_surprise(shares, self._truth(some), exclusive=True) * len(some)
        right = shares.argmax(axis=1) == self._labels[some]
        return surprise, np.stack((shares.max(axis=1), right), axis=1)

    def _truth(self, some: Array) -> Array:
        truth: Array = np.eye(self.classes, dtype=bool)[self._labels[some]]
        return truth


class AnyOfMany:
    """Shares `[N, C]`, each for itself, and which of them are right."""

    def __init__(self, shares: Array, truth: Array, told_from: float) -> None:
        self._shares = shares
        self._truth = truth > 0.5
        self.classes = int(shares.shape[1])
        self.told_from: float | None = told_from

    def __len__(self) -> int:
        return len(self._shares)

    @property
    def strata(self) -> Array | None:
        return None

    def temperature(self, some: Array) -> float | None:
        return temperature_of(self._shares[some], self._truth[some], exclusive=False)

    def answers(self, some: Array, temperature: float | None) -> Answers:
        shares, truth = tempered_each(self._shares[some], temperature or 1.0), self._truth[some]
        sample = np.repeat(some, self.classes)
        kind = np.tile(np.arange(self.classes), len(some))
        truths = truth.sum(axis=0)
        return Answers(sample, kind, shares.reshape(-1), truth.reshape(-1), truths, len(some))

    def calibration(self, some: Array, temperature: float | None) -> tuple[float, Array]:
        shares, truth = tempered_each(self._shares[some], temperature or 1.0), self._truth[some]
        surprise = mean_surprise(shares, truth, exclusive=False) * len(some)
        return surprise, np.stack((shares.reshape(-1), truth.reshape(-1)), axis=1)


class Found:
    """Found objects, each right or not, and how many there are of each class in each picture."""

    def __init__(self, found: Answers, truths: Array, told_from: float) -> None:
        self._found = found
        self._truths = truths
        self.classes = int(truths.shape[1])
        self.told_from: float | None = told_from

    def __len__(self) -> int:
        return len(self._truths)

    @property
    def strata(self) -> Array | None:
        return None

    def temperature(self, some: Array) -> float | None:
        return None

    def answers(self, some: Array, temperature: float | None) -> Answers:
        mine = self._found.chosen(np.isin(self._found.sample, some))
        truths = self._truths[some].sum(axis=0)
        return Answers(mine.sample, mine.kind, mine.score, mine.right, truths, len(some))

    def calibration(self, some: Array, temperature: float | None) -> tuple[float, Array]:
        mine = self.answers(some, None)
        return float("nan"), np.stack((mine.score, mine.right), axis=1)
