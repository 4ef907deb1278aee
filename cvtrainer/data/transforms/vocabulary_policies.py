"""RandAugment and TrivialAugment of the shared vocabulary: a few changes out of a fixed list.

Their lists and strengths are those of the papers as torchvision has them, except that shears are
about the middle and that the wide shift is a share of the side (32 of 224 pixels).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.transforms.arguments import chance, filling
from cvtrainer.data.transforms.augment_space import (
    RAND_AUGMENT,
    TRIVIAL_AUGMENT_WIDE,
    Look,
    changed,
)
from cvtrainer.data.transforms.pixels import Fill, PixelOperations, check_interpolation
from cvtrainer.data.transforms.scene import Scene


class RandAugment:
    """`num_ops` changes one after the other, each at `magnitude` of 0..num_magnitude_bins - 1."""

    def __init__(
        self,
        *,
        num_ops: int = 2,
        magnitude: int = 9,
        num_magnitude_bins: int = 31,
        interpolation: str | int = "nearest",
        fill: Fill | Sequence[float] = 0,
        fill_mask: int = 0,
        p: float = 1.0,
    ) -> None:
        if num_ops < 0 or not 0 <= magnitude < num_magnitude_bins:
            raise UserError(
                f"RandAugment: num_ops is {num_ops}, magnitude is {magnitude}",
                todo=f"Use num_ops from 0 up and magnitude 0..{num_magnitude_bins - 1}.",
            )
        self.num_ops = num_ops
        self.magnitude = magnitude
        self.bins = num_magnitude_bins
        self.look = Look(check_interpolation(interpolation), filling(fill), fill_mask)
        self.p = chance("RandAugment", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene after the drawn changes."""
        if rng.random() >= self.p:
            return scene
        choices = tuple(RAND_AUGMENT.values())
        for number in rng.integers(0, len(choices), self.num_ops):
            choice = choices[number]
            scene = changed(scene, choice, self.magnitude, self.bins, rng, pixels, self.look)
        return scene


class TrivialAugmentWide:
    """One change at a magnitude drawn from all of 0..num_magnitude_bins - 1."""

    def __init__(
        self,
        *,
        num_magnitude_bins: int = 31,
        interpolation: str | int = "nearest",
        fill: Fill | Sequence[float] = 0,
        fill_mask: int = 0,
        p: float = 1.0,
    ) -> None:
        if num_magnitude_bins < 1:
            raise UserError(f"TrivialAugmentWide: num_magnitude_bins is {num_magnitude_bins}")
        self.bins = num_magnitude_bins
        self.look = Look(check_interpolation(interpolation), filling(fill), fill_mask)
        self.p = chance("TrivialAugmentWide", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene after the drawn change."""
        if rng.random() >= self.p:
            return scene
        choices = tuple(TRIVIAL_AUGMENT_WIDE.values())
        choice = choices[int(rng.integers(0, len(choices)))]
        magnitude = int(rng.integers(0, self.bins))
        return changed(scene, choice, magnitude, self.bins, rng, pixels, self.look)
