"""The transforms of the shared vocabulary that change places: sizes, crops, flips and turns.

Masks, boxes and keypoints move along. What a transform needs to know is drawn here, from the
generator it is given, so the same seed crops and turns the same way on every back end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.transforms.frame import crop, extend, flip, resize, turn
from cvtrainer.data.transforms.pixels import (
    Fill,
    Motion,
    PixelOperations,
    check_interpolation,
)
from cvtrainer.data.transforms.scene import Scene

Range = float | Sequence[float]
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
        self.size = None if self.shorter else _size("Resize", height, width, size)
        self.interpolation = check_interpolation(interpolation)
        self.antialias = antialias

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene in the new size."""
        size = self.size or _scaled_to(self.shorter or 1, min(scene.height, scene.width), scene)
        return resize(scene, size, pixels, self.interpolation, self.antialias)


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
        size = _scaled_to(self.max_size, min(scene.height, scene.width), scene)
        return resize(scene, size, pixels, self.interpolation, self.antialias)


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
        size = _scaled_to(self.max_size, max(scene.height, scene.width), scene)
        return resize(scene, size, pixels, self.interpolation, self.antialias)


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
        self.size = _size("RandomResizedCrop", height, width, size)
        self.scale = _pair("RandomResizedCrop", "scale", scale)
        self.ratio = _pair("RandomResizedCrop", "ratio", ratio)
        self.interpolation = check_interpolation(interpolation)
        self.antialias = antialias
        self.p = _chance("RandomResizedCrop", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The drawn part in the new size; with 1 - p the whole picture in the new size."""
        if rng.random() < self.p:
            scene = crop(scene, *self._window(scene, rng))
        return resize(scene, self.size, pixels, self.interpolation, self.antialias)

    def _window(self, scene: Scene, rng: np.random.Generator) -> tuple[int, int, int, int]:
        """Top, left, height, width; the largest fitting one when no draw fits."""
        rows, columns = scene.height, scene.width
        low, high = math.log(self.ratio[0]), math.log(self.ratio[1])
        for _ in range(_TRIES):
            area = rows * columns * rng.uniform(*self.scale)
            shape = math.exp(rng.uniform(low, high))
            height, width = round(math.sqrt(area / shape)), round(math.sqrt(area * shape))
            if 0 < height <= rows and 0 < width <= columns:
                top = int(rng.integers(0, rows - height + 1))
                left = int(rng.integers(0, columns - width + 1))
                return top, left, height, width
        shape = min(max(columns / rows, self.ratio[0]), self.ratio[1])
        height = min(rows, max(1, round(columns / shape)))
        width = min(columns, max(1, round(rows * shape)))
        return (rows - height) // 2, (columns - width) // 2, height, width


class RandomCrop:
    """A random window of height x width; a smaller picture is an error, or padded on request."""

    def __init__(
        self,
        *,
        height: int | None = None,
        width: int | None = None,
        size: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Fill = 0,
        fill_mask: int = 0,
        p: float = 1.0,
    ) -> None:
        self.size = _size("RandomCrop", height, width, size)
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.fill_mask = fill_mask
        self.p = _chance("RandomCrop", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The drawn window."""
        if rng.random() >= self.p:
            return scene
        height, width = self.size
        if self.pad_if_needed:
            scene = _padded_to(scene, self.size, self.fill, self.fill_mask)
        _check_fits("RandomCrop", scene, self.size)
        top = int(rng.integers(0, scene.height - height + 1))
        left = int(rng.integers(0, scene.width - width + 1))
        return crop(scene, top, left, height, width)


class CenterCrop:
    """The middle window of height x width; a smaller picture is an error, or padded on request."""

    def __init__(
        self,
        *,
        height: int | None = None,
        width: int | None = None,
        size: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Fill = 0,
        fill_mask: int = 0,
    ) -> None:
        self.size = _size("CenterCrop", height, width, size)
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.fill_mask = fill_mask

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The middle window."""
        height, width = self.size
        if self.pad_if_needed:
            scene = _padded_to(scene, self.size, self.fill, self.fill_mask)
        _check_fits("CenterCrop", scene, self.size)
        return crop(scene, (scene.height - height) // 2, (scene.width - width) // 2, height, width)


class Pad:
    """A border: one number, [left-right, top-bottom] or [left, top, right, bottom]."""

    def __init__(self, *, padding: int | Sequence[int], fill: Fill = 0, fill_mask: int = 0) -> None:
        sides = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(sides) == 2:
            sides = (sides[0], sides[1], sides[0], sides[1])
        if len(sides) != 4 or min(sides) < 0:
            raise UserError(f"Pad: padding is {padding}", todo="Give 1, 2 or 4 numbers from 0 up.")
        self.sides = sides
        self.fill = fill
        self.fill_mask = fill_mask

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene with its border."""
        left, top, right, bottom = self.sides
        return extend(scene, (top, left, bottom, right), self.fill, self.fill_mask)


class PadIfNeeded:
    """A border around a picture smaller than min_height x min_width, centred."""

    def __init__(
        self, *, min_height: int, min_width: int, fill: Fill = 0, fill_mask: int = 0
    ) -> None:
        self.size = _size("PadIfNeeded", min_height, min_width, None)
        self.fill = fill
        self.fill_mask = fill_mask

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, at least that large."""
        return _padded_to(scene, self.size, self.fill, self.fill_mask)


class HorizontalFlip:
    """Left and right exchanged, with probability p."""

    def __init__(self, *, p: float = 0.5) -> None:
        self.p = _chance("HorizontalFlip", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, perhaps mirrored."""
        return flip(scene, axis=1) if rng.random() < self.p else scene


class VerticalFlip:
    """Top and bottom exchanged, with probability p."""

    def __init__(self, *, p: float = 0.5) -> None:
        self.p = _chance("VerticalFlip", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, perhaps upside down."""
        return flip(scene, axis=0) if rng.random() < self.p else scene


class RandomRotate90:
    """Turned by 0, 90, 180 or 270 degrees, with probability p."""

    def __init__(self, *, p: float = 1.0) -> None:
        self.p = _chance("RandomRotate90", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, turned."""
        if rng.random() >= self.p:
            return scene
        return turn(scene, int(rng.integers(0, 4)))


class Rotate:
    """Turned by an angle from `limit` (degrees; a number n means -n..n) in its own frame."""

    def __init__(
        self,
        *,
        limit: Range = 90.0,
        interpolation: str | int = "bilinear",
        fill: Fill = 0,
        fill_mask: int = 0,
        p: float = 0.5,
    ) -> None:
        self._affine = Affine(
            rotate=limit, interpolation=interpolation, fill=fill, fill_mask=fill_mask, p=p
        )

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, turned."""
        return self._affine.apply(scene, rng, pixels)


class Affine:
    """Turn (degrees), scale, shear (degrees) and shift (share of the side), each from a range.

    A single number n means -n..n, for `scale` it means 1-n..1+n.
    """

    def __init__(
        self,
        *,
        rotate: Range = 0.0,
        scale: Range = (1.0, 1.0),
        shear: Range = 0.0,
        translate_percent: Range = 0.0,
        interpolation: str | int = "bilinear",
        fill: Fill = 0,
        fill_mask: int = 0,
        p: float = 1.0,
    ) -> None:
        self.rotate = _range("Affine", "rotate", rotate)
        self.scale = _range("Affine", "scale", scale, centre=1.0)
        self.shear = _range("Affine", "shear", shear)
        self.translate_percent = _range("Affine", "translate_percent", translate_percent)
        self.interpolation = check_interpolation(interpolation)
        self.fill = tuple(fill) if isinstance(fill, Sequence) else fill
        self.fill_mask = fill_mask
        self.p = _chance("Affine", p)
        if self.scale[0] <= 0:
            raise UserError(f"Affine: scale begins at {self.scale[0]}", todo="Stay above 0.")

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, moved within its frame."""
        if rng.random() >= self.p:
            return scene
        shift = rng.uniform(*self.translate_percent, size=2)
        motion = Motion(
            angle=rng.uniform(*self.rotate),
            scale=rng.uniform(*self.scale),
            shear=(rng.uniform(*self.shear), 0.0),
            shift=(float(round(shift[0] * scene.width)), float(round(shift[1] * scene.height))),
        )
        return scene.moved(
            motion.matrix(scene.height, scene.width),
            pixels.affine(scene.image, motion, self.interpolation, self.fill),
            lambda plane: pixels.affine(plane, motion, "nearest", float(self.fill_mask)),
        )


def _size(
    name: str, height: int | None, width: int | None, size: int | Sequence[int] | None
) -> tuple[int, int]:
    if size is not None and height is None and width is None:
        height, width = (size, size) if isinstance(size, int) else size
    elif size is not None:
        raise UserError(f"{name} has both size and height or width", todo="Give one of them.")
    if height is None or width is None or height < 1 or width < 1:
        raise UserError(
            f"{name} needs height and width from 1 up", todo="Or size: [height, width]."
        )
    return int(height), int(width)


def _pair(name: str, word: str, value: Sequence[float]) -> tuple[float, float]:
    low, high = (float(v) for v in value)
    if not 0 < low <= high:
        raise UserError(f"{name}: {word} is {list(value)}", todo="Give [low, high] above 0.")
    return low, high


def _range(name: str, word: str, value: Range, *, centre: float = 0.0) -> tuple[float, float]:
    if isinstance(value, int | float):
        return centre - abs(value), centre + abs(value)
    low, high = (float(v) for v in value)
    if low > high:
        raise UserError(f"{name}: {word} is {list(value)}", todo="Give [low, high].")
    return low, high


def _chance(name: str, p: float) -> float:
    if not 0.0 <= p <= 1.0:
        raise UserError(f"{name}: p is {p}", todo="Use a probability from 0 to 1.")
    return p


def _scaled_to(length: int, side: int, scene: Scene) -> tuple[int, int]:
    """The scene's size after scaling so that `side` becomes `length`."""
    factor = length / side
    return max(1, round(scene.height * factor)), max(1, round(scene.width * factor))


def _padded_to(scene: Scene, size: tuple[int, int], fill: Fill, fill_mask: int) -> Scene:
    rows, columns = max(0, size[0] - scene.height), max(0, size[1] - scene.width)
    if not rows and not columns:
        return scene
    sides = (rows // 2, columns // 2, rows - rows // 2, columns - columns // 2)
    return extend(scene, sides, fill, fill_mask)


def _check_fits(name: str, scene: Scene, size: tuple[int, int]) -> None:
    if size[0] > scene.height or size[1] > scene.width:
        raise UserError(
            f"{name} to {size[0]}x{size[1]} of a picture of {scene.height}x{scene.width}",
            todo="Resize first, or set pad_if_needed: true.",
        )
