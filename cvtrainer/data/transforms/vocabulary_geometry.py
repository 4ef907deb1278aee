"""The transforms of the shared vocabulary that flip, turn and lean the picture in its frame.

Masks, boxes and keypoints move along. What a transform needs to know is drawn here, from the
generator it is given, so the same seed turns the same way on every back end.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.transforms.arguments import Range, chance, filling, limits
from cvtrainer.data.transforms.frame import flip, transpose, turn
from cvtrainer.data.transforms.pixels import (
    Fill,
    Motion,
    PixelOperations,
    check_interpolation,
)
from cvtrainer.data.transforms.scene import Scene


class HorizontalFlip:
    """Left and right exchanged, with probability p."""

    scale_free: ClassVar[bool] = True

    def __init__(self, *, p: float = 0.5) -> None:
        self.p = chance("HorizontalFlip", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, perhaps mirrored."""
        return flip(scene, axis=1) if rng.random() < self.p else scene


class VerticalFlip:
    """Top and bottom exchanged, with probability p."""

    scale_free: ClassVar[bool] = True

    def __init__(self, *, p: float = 0.5) -> None:
        self.p = chance("VerticalFlip", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, perhaps upside down."""
        return flip(scene, axis=0) if rng.random() < self.p else scene


class Transpose:
    """Rows and columns exchanged, with probability p."""

    def __init__(self, *, p: float = 0.5) -> None:
        self.p = chance("Transpose", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, perhaps mirrored at its diagonal."""
        return transpose(scene) if rng.random() < self.p else scene


class RandomRotate90:
    """Turned by 0, 90, 180 or 270 degrees, with probability p."""

    def __init__(self, *, p: float = 1.0) -> None:
        self.p = chance("RandomRotate90", p)

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
        self.rotate = limits("Affine", "rotate", rotate)
        self.scale = limits("Affine", "scale", scale, centre=1.0)
        self.shear = limits("Affine", "shear", shear)
        self.translate_percent = limits("Affine", "translate_percent", translate_percent)
        self.interpolation = check_interpolation(interpolation)
        self.fill = filling(fill)
        self.fill_mask = fill_mask
        self.p = chance("Affine", p)
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
