"""The transforms of the shared vocabulary that cut a window of given size, or add a border.

Masks, boxes and keypoints move along. A picture smaller than the window is an error that names it,
unless padding is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.transforms.arguments import chance, size_of
from cvtrainer.data.transforms.frame import crop, extend
from cvtrainer.data.transforms.pixels import Fill, PixelOperations
from cvtrainer.data.transforms.scene import Scene


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
        self.size = size_of("RandomCrop", height, width, size)
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.fill_mask = fill_mask
        self.p = chance("RandomCrop", p)

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
        self.size = size_of("CenterCrop", height, width, size)
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
        self.size = size_of("PadIfNeeded", min_height, min_width, None)
        self.fill = fill
        self.fill_mask = fill_mask

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, at least that large."""
        return _padded_to(scene, self.size, self.fill, self.fill_mask)


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
