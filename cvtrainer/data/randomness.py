"""Random draws of a sample as a pure function of (seed, epoch, position, place).

Our own transforms get a generator keyed by that tuple. Code that draws from the global generators
of Python, numpy or torch runs inside `seeded_globals`, which sets them and puts them back.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from cvtrainer.core.seeds import sample_seed

LOAD_PLACE = 0
"""The place of loading a sample; transform number k (from 0) has place k + 1."""


class DrawKey(NamedTuple):
    """Whose draws these are; `position` is the sample's place in the epoch's global order."""

    seed: int
    epoch: int
    position: int

    def at(self, place: int) -> int:
        """The seed for that place of the pipeline."""
        return sample_seed(self.seed, self.epoch, self.position, place)


def generator(seed: int) -> np.random.Generator:
    """A fresh counter-based generator with that key."""
    return np.random.Generator(np.random.Philox(key=seed))


@contextmanager
def seeded_globals(seed: int) -> Iterator[None]:
    """Within, the global generators of Python, numpy and torch start from `seed`."""
    import torch

    before_python = random.getstate()
    before_numpy = np.random.get_state()
    before_torch = torch.random.get_rng_state()
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    torch.default_generator.manual_seed(seed & 0x7FFFFFFFFFFFFFFF)
    try:
        yield
    finally:
        random.setstate(before_python)
        np.random.set_state(before_numpy)
        torch.random.set_rng_state(before_torch)
