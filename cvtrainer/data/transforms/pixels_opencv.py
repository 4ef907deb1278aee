"""Pixel operations for the Albumentations back end, on OpenCV as Albumentations itself does.

Calling OpenCV directly gives the same pixels as Albumentations' functional layer (tests compare
them) without three seconds of import in every worker.
"""

from __future__ import annotations

import cv2
import numpy as np

from cvtrainer.data.transforms.pixels import Fill, Motion
from cvtrainer.data.transforms.scene import Array

_KERNELS = {
    "nearest": cv2.INTER_NEAREST_EXACT,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}


class OpenCvPixels:
    """See `pixels.PixelOperations`."""

    name = "Albumentations"

    def resize(
        self, image: Array, size: tuple[int, int], interpolation: str, antialias: bool | None
    ) -> Array:
        """To that size; `antialias` averages areas where the picture shrinks (off unless asked)."""
        kernel = _KERNELS[interpolation]
        if antialias and size[0] <= image.shape[0] and size[1] <= image.shape[1]:
            kernel = cv2.INTER_AREA
        return _like(cv2.resize(image, (size[1], size[0]), interpolation=kernel), image)

    def affine(self, image: Array, motion: Motion, interpolation: str, fill: Fill) -> Array:
        """Moved within its own frame."""
        height, width = image.shape[:2]
        matrix = motion.matrix(height, width)
        # OpenCV puts the origin at the centre of the first pixel, we at its corner.
        matrix[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
        kernel = cv2.INTER_NEAREST if interpolation == "nearest" else _KERNELS[interpolation]
        border = fill if isinstance(fill, tuple) else (fill,) * 4
        moved = cv2.warpAffine(
            image, matrix, (width, height), flags=kernel, borderValue=[float(v) for v in border]
        )
        return _like(moved, image)

    def brightness(self, image: Array, factor: float) -> Array:
        """Values times `factor`."""
        return _scaled(image, factor, 0.0)

    def contrast(self, image: Array, factor: float) -> Array:
        """Distance from the mean grey times `factor`."""
        mean = float(_luma(image).mean())
        return _scaled(image, factor, mean * (1.0 - factor))

    def saturation(self, image: Array, factor: float) -> Array:
        """Distance from the own grey times `factor`; a grey picture stays."""
        if image.ndim == 2 or image.shape[2] != 3:
            return image
        grey = cv2.cvtColor(_luma(image), cv2.COLOR_GRAY2RGB)
        mixed = cv2.addWeighted(image, factor, grey, 1.0 - factor, 0.0)
        return mixed if image.dtype == np.uint8 else np.clip(mixed, 0, 1)

    def hue(self, image: Array, shift: float) -> Array:
        """Hue turned by `shift` of a full circle; a grey picture stays."""
        if image.ndim == 2 or image.shape[2] != 3:
            return image
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        if image.dtype == np.uint8:
            table = np.mod(np.arange(256, dtype=np.int32) + round(180 * shift), 180)
            hsv[..., 0] = cv2.LUT(np.ascontiguousarray(hsv[..., 0]), table.astype(np.uint8))
        else:
            hsv[..., 0] = np.mod(hsv[..., 0] + shift * 360.0, 360.0)
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)

    def grey(self, image: Array) -> Array:
        """Without colour, with the same number of channels."""
        if image.ndim == 2 or image.shape[2] != 3:
            return image
        return cv2.cvtColor(_luma(image), cv2.COLOR_GRAY2RGB)

    def blur(self, image: Array, kernel: int, sigma: float) -> Array:
        """Gaussian blur."""
        return _like(
            cv2.GaussianBlur(
                image, (kernel, kernel), sigmaX=sigma, borderType=cv2.BORDER_REFLECT_101
            ),
            image,
        )


def _luma(image: Array) -> Array:
    if image.ndim == 3 and image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return image


def _scaled(image: Array, factor: float, offset: float) -> Array:
    """value * factor + offset, cut at the ends of the range."""
    if image.dtype != np.uint8:
        return np.clip(image * factor + offset, 0, 1).astype(image.dtype)
    table = np.clip(np.arange(256) * factor + offset, 0, 255).astype(np.uint8)
    return _like(cv2.LUT(np.ascontiguousarray(image), table), image)


def _like(result: Array, source: Array) -> Array:
    """OpenCV drops a single channel; give it back."""
    return result[:, :, None] if result.ndim < source.ndim else result
