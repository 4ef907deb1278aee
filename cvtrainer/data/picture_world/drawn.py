"""A picture world in memory: the pictures that `write_picture_world` writes, without the files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.seeds import mix
from cvtrainer.data.picture_world.scenes import CALM, LIVELY, Look, Picture, draw_picture

PARTS = ("train", "val", "test")
"""The parts in the order of their numbers, which decide what is drawn."""

LOOKS: dict[str, Look] = {"lively": LIVELY, "calm": CALM}


def picture_draws(seed: int, part: int, number: int) -> np.random.Generator:
    """Where all that is random about one picture comes from."""
    return np.random.Generator(np.random.Philox(key=mix(seed, part, number)))


def drawn_world(
    part: str, count: int, *, size: int, seed: int, classes: Sequence[str], look: Look
) -> list[Picture]:
    """That many pictures of a part, classes taking turns."""
    place = PARTS.index(part)
    return [
        draw_picture(
            number % len(classes),
            picture_draws(seed, place, number),
            size=size,
            shapes=classes,
            look=look,
        )
        for number in range(count)
    ]


def instance_masks(mask: NDArray[np.uint8], boxes: Any, labels: Any) -> NDArray[np.uint8]:
    """One mask per shape, 0 and 1, told apart by their boxes.

    A shape keeps clear of the boxes of those drawn before it, so that what lies in a box and is not
    an earlier shape's is its own.
    """
    masks = np.zeros((len(boxes), *mask.shape), dtype=np.uint8)
    free = np.ones(mask.shape, dtype=bool)
    for one, (x1, y1, x2, y2), label in zip(masks, np.asarray(boxes, int), labels, strict=True):
        window = np.s_[y1:y2, x1:x2]
        own = free[window] & (mask[window] == label + 1)
        one[window] = own
        free[window] &= ~own
    return masks
