"""The transforms of the shared vocabulary that cover parts of the picture.

Labels stay: what is covered is still there. `fill_mask` covers masks too, with that class number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.transforms.arguments import chance, filling, positive_pair
from cvtrainer.data.transforms.pixels import PixelOperations
from cvtrainer.data.transforms.scene import Array, Scene

Hole = tuple[int, int, int, int]
Span = Sequence[float]
_TRIES = 10


class RandomErasing:
    """One rectangle of `scale` of the area covered with `value`: a number, one per channel, or
    `noise`."""

    def __init__(
        self,
        *,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | Sequence[float] | Literal["noise"] = 0,
        fill_mask: int | None = None,
        p: float = 0.5,
    ) -> None:
        self.scale = positive_pair("RandomErasing", "scale", scale)
        self.ratio = positive_pair("RandomErasing", "ratio", ratio)
        if isinstance(value, str) and value != "noise":
            raise UserError(f"RandomErasing: value is {value!r}", todo="Use numbers or noise.")
        self.value = "noise" if isinstance(value, str) else filling(value)
        self.fill_mask = fill_mask
        self.p = chance("RandomErasing", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, perhaps with a rectangle on it."""
        if rng.random() >= self.p:
            return scene
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(_TRIES):
            area = rng.uniform(*self.scale) * scene.height * scene.width
            shape = math.exp(rng.uniform(low, high))
            height, width = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
            if 0 < height < scene.height and 0 < width < scene.width:
                top = int(rng.integers(0, scene.height - height + 1))
                left = int(rng.integers(0, scene.width - width + 1))
                hole = (top, left, height, width)
                return _covered(scene, [hole], self.value, self.fill_mask, rng)
        return scene


class CoarseDropout:
    """Several rectangles covered with `fill`; sizes are shares of the sides, or pixels from 1."""

    def __init__(
        self,
        *,
        num_holes_range: Sequence[int] = (1, 2),
        hole_height_range: Span = (0.1, 0.2),
        hole_width_range: Span = (0.1, 0.2),
        fill: float | Sequence[float] | Literal["noise"] = 0,
        fill_mask: int | None = None,
        p: float = 0.5,
    ) -> None:
        self.count = positive_pair("CoarseDropout", "num_holes_range", num_holes_range)
        self.heights = positive_pair("CoarseDropout", "hole_height_range", hole_height_range)
        self.widths = positive_pair("CoarseDropout", "hole_width_range", hole_width_range)
        if isinstance(fill, str) and fill != "noise":
            raise UserError(f"CoarseDropout: fill is {fill!r}", todo="Use numbers or noise.")
        self.fill = "noise" if isinstance(fill, str) else filling(fill)
        self.fill_mask = fill_mask
        self.p = chance("CoarseDropout", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, perhaps with holes."""
        if rng.random() >= self.p:
            return scene
        holes: list[Hole] = []
        for _ in range(int(rng.integers(int(self.count[0]), int(self.count[1]) + 1))):
            height = _length(rng.uniform(*self.heights), self.heights[1], scene.height)
            width = _length(rng.uniform(*self.widths), self.widths[1], scene.width)
            top = int(rng.integers(0, scene.height - height + 1))
            left = int(rng.integers(0, scene.width - width + 1))
            holes.append((top, left, height, width))
        return _covered(scene, holes, self.fill, self.fill_mask, rng)


def _length(drawn: float, largest: float, side: int) -> int:
    return min(side, max(1, round(drawn * side if largest <= 1 else drawn)))


def _covered(
    scene: Scene,
    holes: Sequence[Hole],
    value: float | tuple[float, ...] | str,
    fill_mask: int | None,
    rng: np.random.Generator,
) -> Scene:
    image = scene.image.copy()
    planes = scene.planes if fill_mask is None else tuple(p.copy() for p in scene.planes)
    for top, left, height, width in holes:
        inside = slice(top, top + height), slice(left, left + width)
        image[inside] = _noise(image[inside], rng) if isinstance(value, str) else value
        if fill_mask is not None:
            for plane in planes:
                plane[inside] = fill_mask
    return replace(scene, image=image, planes=planes)


def _noise(like: Array, rng: np.random.Generator) -> Array:
    if like.dtype == np.uint8:
        return rng.integers(0, 256, like.shape, dtype=np.uint8)
    return rng.random(like.shape).astype(like.dtype)
