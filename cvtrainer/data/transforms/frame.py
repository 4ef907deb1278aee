"""Moves that only re-arrange pixels (crop, border, flip, quarter turn) and the resize of a scene.

They are the same on every back end by nature, so they are here once; pixels, masks, boxes and
keypoints go together through the same matrix.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from cvtrainer.data.transforms.pixels import Fill, PixelOperations, resize_plane
from cvtrainer.data.transforms.scene import Array, Matrix, Scene

_MIRRORED_BY_OPENCV = (np.uint8, np.uint16, np.int32, np.float32)
"""Thirty times as fast there as numpy's reversed copy."""


def resize(
    scene: Scene,
    size: tuple[int, int],
    pixels: PixelOperations,
    interpolation: str,
    antialias: bool | None,
) -> Scene:
    """The scene at that (height, width)."""
    if size == (scene.height, scene.width):
        return replace(scene, file_size=None)
    matrix = _matrix([[size[1] / scene.width, 0, 0], [0, size[0] / scene.height, 0]])
    image = pixels.resize(scene.image, size, interpolation, antialias)
    return scene.moved(matrix, image, lambda plane: resize_plane(plane, size))


def crop(scene: Scene, top: int, left: int, height: int, width: int) -> Scene:
    """That window of the scene: views, no pixel is copied."""

    def window(plane: Array) -> Array:
        return plane[top : top + height, left : left + width]

    return scene.moved(_matrix([[1, 0, -left], [0, 1, -top]]), window(scene.image), window)


def extend(scene: Scene, sides: tuple[int, int, int, int], fill: Fill, fill_mask: int) -> Scene:
    """The scene with a border of (top, left, bottom, right)."""
    top, left, bottom, right = sides

    def bordered(plane: Array, value: Fill) -> Array:
        shape = (plane.shape[0] + top + bottom, plane.shape[1] + left + right, *plane.shape[2:])
        out = np.empty(shape, dtype=plane.dtype)
        out[...] = value
        out[top : top + plane.shape[0], left : left + plane.shape[1]] = plane
        return out

    return scene.moved(
        _matrix([[1, 0, left], [0, 1, top]]),
        bordered(scene.image, fill),
        lambda plane: bordered(plane, fill_mask),
    )


def flip(scene: Scene, *, axis: int) -> Scene:
    """Mirrored: axis 1 exchanges left and right, axis 0 top and bottom."""
    if axis == 1:
        matrix = _matrix([[-1, 0, scene.width], [0, 1, 0]])
    else:
        matrix = _matrix([[1, 0, 0], [0, -1, scene.height]])

    return scene.moved(
        matrix, mirrored(scene.image, axis=axis), lambda plane: mirrored(plane, axis=axis)
    )


def mirrored(plane: Array, *, axis: int) -> Array:
    """A copy with the order of columns (axis 1) or rows (axis 0) reversed."""
    if plane.dtype not in _MIRRORED_BY_OPENCV or not plane.size:
        return np.ascontiguousarray(np.flip(plane, axis=axis))
    turned: Array = cv2.flip(plane, axis)
    return turned.reshape(plane.shape)


def transpose(scene: Scene) -> Scene:
    """Rows and columns exchanged."""

    def exchanged(plane: Array) -> Array:
        return np.ascontiguousarray(np.swapaxes(plane, 0, 1))

    return scene.moved(_matrix([[0, 1, 0], [1, 0, 0]]), exchanged(scene.image), exchanged)


def turn(scene: Scene, quarters: int) -> Scene:
    """Turned counter-clockwise by that many quarters."""
    height, width = scene.height, scene.width
    matrix = (
        _matrix([[1, 0, 0], [0, 1, 0]]),
        _matrix([[0, 1, 0], [-1, 0, width]]),
        _matrix([[-1, 0, width], [0, -1, height]]),
        _matrix([[0, -1, height], [1, 0, 0]]),
    )[quarters]

    def turned(plane: Array) -> Array:
        return np.ascontiguousarray(np.rot90(plane, quarters))

    return scene.moved(matrix, turned(scene.image), turned)


def _matrix(rows: list[list[float]]) -> Matrix:
    return np.array(rows, dtype=np.float64)
