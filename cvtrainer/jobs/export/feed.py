"""What artefacts of a run are fed with, and where it comes from: the files of pictures, or arrays.

One of both serves a run, by the spec of its input. All that differs between them is here: proofs,
calibration and pages ask a feed, and know neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray
from torch import Tensor

from cvtrainer.core.array_spec import ArraySpec
from cvtrainer.deploy.contract import Spec
from cvtrainer.jobs.export.array_feed import ArrayFeed
from cvtrainer.jobs.export.picture_feed import PictureFeed
from cvtrainer.jobs.export.validation import Validation
from cvtrainer.jobs.load import Trained
from cvtrainer.protocols import Batch


class Feed(Protocol):
    """`takes` is what a graph without a front of its own takes, `free` are the axes of a batch
    whose lengths differ from sample to sample, `source` says where inputs come from."""

    source: ClassVar[str]
    takes: ClassVar[str]

    @property
    def spec(self) -> Spec: ...

    @property
    def free(self) -> tuple[int, ...]: ...

    def fitted(self, trained: Trained, validation: Validation) -> Feed:
        """The same with what follows from the network and the data."""
        ...

    def rows(self, validation: Validation, batch: Batch, takes: str) -> list[NDArray[Any]]:
        """An artefact's inputs for the samples of a batch."""
        ...

    def pixels(self, validation: Validation, batch: Batch, place: int) -> NDArray[Any] | None:
        """A sample as people look at it; None where it is no picture."""
        ...

    def sample(self, trained: Trained, count: int, takes: str) -> Iterator[Tensor]:
        """Batches of training samples for the ranges of 8-bit numbers, `count` in all where there
        are so many: each class in its share, the same ones every time, prepared as in evaluation.
        """
        ...


def feed_of(spec: Spec) -> Feed:
    """By the spec of the input."""
    return ArrayFeed(spec) if isinstance(spec, ArraySpec) else PictureFeed(spec)
