"""The transforms of the shared vocabulary that bend the picture: perspective and elastic.

Masks are bent with it; boxes are the upright ones around their bent outlines.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.transforms.arguments import Range, chance, filling, within
from cvtrainer.data.transforms.pixels import Fill, PixelOperations, check_interpolation
from cvtrainer.data.transforms.scene import Array, Matrix, PointMap, Scene

_STEPS = 12


class Perspective:
    """The four corners moved inward by a share of the sides from `scale`, then back to the frame.

    A number n means 0..n.
    """

    def __init__(
        self,
        *,
        scale: Range = (0.05, 0.1),
        interpolation: str | int = "bilinear",
        fill: Fill | Sequence[float] = 0,
        fill_mask: int = 0,
        p: float = 0.5,
    ) -> None:
        span = (0.0, scale) if isinstance(scale, int | float) else scale
        self.scale = within("Perspective", "scale", span, low=0.0, high=0.45)
        self.interpolation = check_interpolation(interpolation)
        self.fill = filling(fill)
        self.fill_mask = fill_mask
        self.p = chance("Perspective", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, perhaps seen from another side."""
        if rng.random() >= self.p:
            return scene
        size = np.array([scene.width, scene.height], dtype=np.float64)
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
        inward = 1.0 - 2.0 * corners
        moved = (corners + inward * rng.uniform(*self.scale, size=(4, 2))) * size
        matrix = _homography(moved, corners * size)
        back = np.linalg.inv(matrix)
        return _warped(
            scene,
            _places(scene, back),
            matrix,
            pixels,
            self.interpolation,
            self.fill,
            self.fill_mask,
        )


class ElasticTransform:
    """Each pixel displaced by smooth noise: uniform in -alpha..alpha, blurred with `sigma`."""

    def __init__(
        self,
        *,
        alpha: float = 50.0,
        sigma: float = 5.0,
        interpolation: str | int = "bilinear",
        fill: Fill | Sequence[float] = 0,
        fill_mask: int = 0,
        p: float = 0.5,
    ) -> None:
        if alpha < 0 or sigma <= 0:
            raise UserError(
                f"ElasticTransform: alpha is {alpha}, sigma is {sigma}",
                todo="Use alpha from 0 up and sigma above 0.",
            )
        self.alpha = alpha
        self.sigma = sigma
        self.interpolation = check_interpolation(interpolation)
        self.fill = filling(fill)
        self.fill_mask = fill_mask
        self.p = chance("ElasticTransform", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, perhaps bent."""
        if rng.random() >= self.p:
            return scene
        noise = rng.random((scene.height, scene.width, 2), dtype=np.float32) * 2 - 1
        shift = cv2.GaussianBlur(noise, (0, 0), self.sigma) * self.alpha
        source = _places(scene, None) + shift
        return _warped(
            scene, source, _against(shift), pixels, self.interpolation, self.fill, self.fill_mask
        )


def _warped(
    scene: Scene,
    source: Array,
    motion: Matrix | PointMap,
    pixels: PixelOperations,
    interpolation: str,
    fill: Fill,
    fill_mask: int,
) -> Scene:
    return scene.moved(
        motion,
        pixels.warp(scene.image, source, interpolation, fill),
        lambda plane: pixels.warp(plane, source, "nearest", float(fill_mask)),
    )


def _places(scene: Scene, matrix: Array | None) -> Array:
    """The middle of each pixel, through the matrix where there is one."""
    x = np.arange(scene.width) + 0.5
    y = (np.arange(scene.height) + 0.5)[:, None]
    if matrix is None:
        return np.stack(np.broadcast_arrays(x, y), axis=2)
    depth = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    across = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) / depth
    down = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]) / depth
    return np.stack([across, down], axis=2)


def _homography(old: Array, new: Array) -> Matrix:
    """The 3x3 matrix that takes four points to four others."""
    rows, values = [], []
    for (x, y), (u, v) in zip(old, new, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        values += [u, v]
    solved = np.linalg.solve(np.array(rows), np.array(values))
    matrix: Matrix = np.append(solved, 1.0).reshape(3, 3)
    return matrix


def _against(shift: Array) -> PointMap:
    """Where old points go when each new pixel p shows the old place p + shift(p)."""
    height, width = shift.shape[:2]

    def moved(points: Array) -> Array:
        new = points.copy()
        for _ in range(_STEPS):
            places = np.clip(new - 0.5, 0, (width - 1, height - 1))
            low = np.minimum(places.astype(np.int64), (max(0, width - 2), max(0, height - 2)))
            x, y = (places - low).T[..., None]
            left, top = low.T
            right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
            above = shift[top, left] * (1 - x) + shift[top, right] * x
            below = shift[bottom, left] * (1 - x) + shift[bottom, right] * x
            new = points - (above * (1 - y) + below * y)
        return new

    return moved
