"""What a mixer is: it names the partners of a place in the global batch, then mixes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from cvtrainer.data.sample import Sample


class Mixer(Protocol):
    """Mixes a sample with others of its global batch.

    `samples` mixers work before the tensorizer, `tensors` mixers after it. The generator that
    drew the partners goes on into `mix`.
    """

    @property
    def place(self) -> Literal["samples", "tensors"]: ...

    def partners(self, rng: np.random.Generator, own: int, size: int) -> tuple[int, ...]:
        """Places in the global batch of `size`; none: this sample stays as it is."""
        ...

    def mix(
        self, sample: Sample, partners: Sequence[Sample], rng: np.random.Generator
    ) -> Sample: ...
