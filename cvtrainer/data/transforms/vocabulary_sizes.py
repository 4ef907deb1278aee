"""The transforms of the shared vocabulary that give the picture another size, or cut a random part.

Masks, boxes and keypoints move along. Sizes and places are drawn as shares of the picture in its
file, so a picture that was decoded smaller gives the same part; `smallest` says how small it may
be, and draws what `apply` draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cvtrainer.data.transforms.arguments import Range, chance, limits, positive_pair, size_of
from cvtrainer.data.transforms.frame import crop, resize
from cvtrainer.data.transforms.pixels import PixelOperations, check_interpolation
from cvtrainer.data.transforms.scene import Scene

Window = tuple[float, float, float, float]
_TRIES = 10


class Resize:
    """To height x width; `size: n` makes the shorter side n; `size: [height, width]` both."""

    def __init__(
        self,
        *,
        height: int | None = None,
        width: int | None = None,
        size: int | Sequence[int] | None = None,
        interpolation: str | int = "bilinear",
        antialias: bool | None = None,
    ) -> None:
        self.shorter = size if isinstance(size, int) else None
        self.size = None if self.shorter else size_of("Resize", height, width, size)
        self.interpolation = check_interpolation(interpolation)
        self.antialias = antialias

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene in the new size."""
        size = self.smallest(*scene.full_size, rng)
        return resize(scene, size, pixels, self.interpolation, self.antialias)

    def smallest(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
        """The size of the picture that needs no enlarging: the new one."""
        if self.size is not None:
            return self.size
        return _times((height, width), (self.shorter or 1) / min(height, width))


class SmallestMaxSize:
    """Scaled so that the shorter side is `max_size`."""

    def __init__(
        self, *, max_size: int, interpolation: str | int = "bilinear", antialias: bool | None = None
    ) -> None:
        self.max_size = max_size
        self.interpolation = check_interpolation(interpolation)
        self.antialias = antialias

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene in the new size."""
        size = self.smallest(*scene.full_size, rng)
        return resize(scene, size, pixels, self.interpolation, self.antialias)

    def smallest(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
        """The size of the picture that needs no enlarging: the new one."""
        return _times((height, width), self.max_size / min(height, width))


class LongestMaxSize:
    """Scaled so that the longer side is `max_size`."""

    def __init__(
        self, *, max_size: int, interpolation: str | int = "bilinear", antialias: bool | None = None
    ) -> None:
        self.max_size = max_size
        self.interpolation = check_interpolation(interpolation)
        self.antialias = antialias

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene in the new size."""
        size = self.smallest(*scene.full_size, rng)
        return resize(scene, size, pixels, self.interpolation, self.antialias)

    def smallest(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
        """The size of the picture that needs no enlarging: the new one."""
        return _times((height, width), self.max_size / max(height, width))


class RandomResizedCrop:
    """A random part of the picture (`scale` of its area, `ratio` of its sides), resized."""

    def __init__(
        self,
        *,
        height: int | None = None,
        width: int | None = None,
        size: int | Sequence[int] | None = None,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: str | int = "bilinear",
        antialias: bool | None = None,
        p: float = 1.0,
    ) -> None:
        self.size = size_of("RandomResizedCrop", height, width, size)
        self.scale = positive_pair("RandomResizedCrop", "scale", scale)
        self.ratio = positive_pair("RandomResizedCrop", "ratio", ratio)
        self.interpolation = check_interpolation(interpolation)
        self.antialias = antialias
        self.p = chance("RandomResizedCrop", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The drawn part in the new size; with 1 - p the whole picture in the new size."""
        if rng.random() < self.p:
            scene = _cut(scene, self.window(*scene.full_size, rng))
        return resize(scene, self.size, pixels, self.interpolation, self.antialias)

    def smallest(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int]:
        """The size of the picture that needs no enlarging for the part that will be drawn."""
        share = self.window(height, width, rng)[2:] if rng.random() < self.p else (1.0, 1.0)
        return (
            min(height, math.ceil(self.size[0] / share[0])),
            min(width, math.ceil(self.size[1] / share[1])),
        )

    def window(self, height: int, width: int, rng: np.random.Generator) -> Window:
        """Top, left, height, width as shares; the largest fitting one when no draw fits."""
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        aspect = width / height
        for _ in range(_TRIES):
            area = rng.uniform(*self.scale)
            shape = math.exp(rng.uniform(low, high)) / aspect
            rows, columns = math.sqrt(area / shape), math.sqrt(area * shape)
            if rows <= 1 and columns <= 1:
                return rng.random() * (1 - rows), rng.random() * (1 - columns), rows, columns
        shape = min(max(aspect, self.ratio[0]), self.ratio[1]) / aspect
        rows, columns = min(1.0, 1 / shape), min(1.0, shape)
        return (1 - rows) / 2, (1 - columns) / 2, rows, columns


class RandomScale:
    """Scaled by a factor from `scale_limit`; a number n means 1-n..1+n."""

    def __init__(
        self,
        *,
        scale_limit: Range = 0.1,
        interpolation: str | int = "bilinear",
        antialias: bool | None = None,
        p: float = 0.5,
    ) -> None:
        low, high = limits("RandomScale", "scale_limit", scale_limit)
        self.scale = positive_pair("RandomScale", "1 + scale_limit", (1 + low, 1 + high))
        self.interpolation = check_interpolation(interpolation)
        self.antialias = antialias
        self.p = chance("RandomScale", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene in another size, its shape kept."""
        if rng.random() >= self.p:
            return scene
        size = _times(scene.full_size, rng.uniform(*self.scale))
        return resize(scene, size, pixels, self.interpolation, self.antialias)


def _times(size: tuple[int, int], factor: float) -> tuple[int, int]:
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _cut(scene: Scene, window: Window) -> Scene:
    """That share of the scene, to the nearest pixel."""
    height = min(scene.height, max(1, round(window[2] * scene.height)))
    width = min(scene.width, max(1, round(window[3] * scene.width)))
    top = min(round(window[0] * scene.height), scene.height - height)
    left = min(round(window[1] * scene.width), scene.width - width)
    return crop(scene, top, left, height, width)
