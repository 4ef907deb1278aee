"""What a back end has to offer: pixel operations with all parameters given.

The vocabulary draws every parameter itself and calls these; nothing here is random. Two files
implement it: `pixels_opencv` for Albumentations (which stands on OpenCV) and `pixels_torchvision`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Protocol

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.transforms.scene import Array, Matrix

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "area", "lanczos")
Fill = float | tuple[float, ...]


class PixelOperations(Protocol):
    """Pictures are HWC or HW arrays; sizes are (height, width)."""

    name: str

    def resize(
        self, image: Array, size: tuple[int, int], interpolation: str, antialias: bool | None
    ) -> Array: ...

    def affine(self, image: Array, motion: Any, interpolation: str, fill: Fill) -> Array: ...

    def brightness(self, image: Array, factor: float) -> Array: ...

    def contrast(self, image: Array, factor: float) -> Array: ...

    def saturation(self, image: Array, factor: float) -> Array: ...

    def hue(self, image: Array, shift: float) -> Array: ...

    def grey(self, image: Array) -> Array: ...

    def blur(self, image: Array, kernel: int, sigma: float) -> Array: ...

    def gamma(self, image: Array, gamma: float) -> Array: ...

    def invert(self, image: Array) -> Array: ...

    def posterize(self, image: Array, bits: int) -> Array: ...

    def solarize(self, image: Array, threshold: float) -> Array: ...

    def equalize(self, image: Array) -> Array: ...

    def autocontrast(self, image: Array) -> Array: ...

    def sharpness(self, image: Array, factor: float) -> Array: ...

    def warp(self, image: Array, source: Array, interpolation: str, fill: Fill) -> Array:
        """`source` (height x width x 2) says for each new pixel where in the picture it lies."""
        ...


class Motion:
    """Rotation (degrees, counter-clockwise), scale, shear (degrees) about the centre, then a
    translation in pixels."""

    def __init__(
        self,
        *,
        angle: float = 0.0,
        scale: float = 1.0,
        shear: tuple[float, float] = (0.0, 0.0),
        shift: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.angle = angle
        self.scale = scale
        self.shear = shear
        self.shift = shift

    def matrix(self, height: int, width: int) -> Matrix:
        """Old to new coordinates in continuous pixels."""
        turn = np.deg2rad(-self.angle)
        shear_x, shear_y = np.deg2rad(self.shear)
        lean = turn - shear_y
        linear = self.scale * np.array(
            [
                [
                    np.cos(lean) / np.cos(shear_y),
                    -np.cos(lean) * np.tan(shear_x) / np.cos(shear_y) - np.sin(turn),
                ],
                [
                    np.sin(lean) / np.cos(shear_y),
                    -np.sin(lean) * np.tan(shear_x) / np.cos(shear_y) + np.cos(turn),
                ],
            ]
        )
        centre = np.array([width / 2.0, height / 2.0])
        offset = centre + np.array(self.shift) - linear @ centre
        return np.concatenate([linear, offset[:, None]], axis=1)


def resize_plane(plane: Array, size: tuple[int, int]) -> Array:
    """A mask in another size: the nearest old pixel, measured from pixel centres."""
    height, width = size
    rows = ((np.arange(height) + 0.5) * (plane.shape[0] / height)).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * (plane.shape[1] / width)).astype(np.int64)
    return np.ascontiguousarray(plane[rows][:, columns])


def check_interpolation(name: str | int) -> str:
    """A known kernel; OpenCV's numbers are understood."""
    if isinstance(name, int):
        name = ("nearest", "bilinear", "bicubic", "area", "lanczos")[name] if name < 5 else "?"
    if name not in INTERPOLATIONS:
        raise UserError(f"no interpolation {name!r}", todo=f"Use {', '.join(INTERPOLATIONS)}.")
    return name


def check_arguments(kind: type, name: str, given: Mapping[str, Any], owner: str) -> None:
    """An argument that the constructor lacks is an error, with a near match."""
    parameters = inspect.signature(kind).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for word in given:
        if word not in parameters:
            near = get_close_matches(word, list(parameters), n=1)
            todo = f"Did you mean {near[0]}?" if near else f"It takes {', '.join(parameters)}."
            raise UserError(f"{name} of {owner} takes no {word}", where="transforms", todo=todo)
    missing = [
        word
        for word, p in parameters.items()
        if p.default is inspect.Parameter.empty and word not in given
        if p.kind is not inspect.Parameter.VAR_POSITIONAL
    ]
    if missing:
        raise UserError(f"{name} of {owner} needs {missing[0]}", where="transforms")
