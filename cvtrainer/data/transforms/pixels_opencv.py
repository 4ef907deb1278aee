"""Pixel operations for the Albumentations back end, on OpenCV as Albumentations itself does.

Calling OpenCV directly gives the same pixels as Albumentations' functional layer (tests compare
them) without three seconds of import in every worker.
"""

from __future__ import annotations

from collections.abc import Callable

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

_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], dtype=np.float32) / 13.0


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

    def gamma(self, image: Array, gamma: float) -> Array:
        """Values of 0..1 to that power."""
        if image.dtype != np.uint8:
            return (np.clip(image, 0, 1) ** gamma).astype(image.dtype)
        return _looked_up(image, np.rint((np.arange(256) / 255.0) ** gamma * 255.0))

    def invert(self, image: Array) -> Array:
        """Light and dark exchanged."""
        return 255 - image if image.dtype == np.uint8 else (1 - image).astype(image.dtype)

    def posterize(self, image: Array, bits: int) -> Array:
        """Only the upper `bits` of each byte."""
        table = np.arange(256) & ~((1 << (8 - bits)) - 1)
        return _on_bytes(image, lambda channel: table)

    def solarize(self, image: Array, threshold: float) -> Array:
        """Values from `threshold` (of 1) up inverted."""
        values = np.arange(256)
        table = np.where(values >= threshold * 255.0, 255 - values, values)
        return _on_bytes(image, lambda channel: table)

    def equalize(self, image: Array) -> Array:
        """Each channel with an even histogram."""
        return _on_bytes(image, _even)

    def autocontrast(self, image: Array) -> Array:
        """Each channel from 0 to full."""
        return _on_bytes(image, _stretched)

    def sharpness(self, image: Array, factor: float) -> Array:
        """Distance from the smoothed picture times `factor`; the outermost pixels stay."""
        if min(image.shape[:2]) < 3:
            return image
        smooth = image.copy()
        filtered = _like(cv2.filter2D(image, -1, _SMOOTH), image)
        smooth[1:-1, 1:-1] = filtered[1:-1, 1:-1]
        mixed = _like(cv2.addWeighted(image, factor, smooth, 1.0 - factor, 0.0), image)
        return mixed if image.dtype == np.uint8 else np.clip(mixed, 0, 1)

    def warp(self, image: Array, source: Array, interpolation: str, fill: Fill) -> Array:
        """Each pixel from its place in `source`; outside there is `fill`."""
        kernel = cv2.INTER_NEAREST if interpolation == "nearest" else _KERNELS[interpolation]
        border = fill if isinstance(fill, tuple) else (fill,) * 4
        places = source.astype(np.float32) - np.float32(0.5)
        moved = cv2.remap(
            np.ascontiguousarray(image),
            np.ascontiguousarray(places[..., 0]),
            np.ascontiguousarray(places[..., 1]),
            kernel,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=[float(v) for v in border],
        )
        return _like(moved, image)


def _luma(image: Array) -> Array:
    if image.ndim == 3 and image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return image


def _scaled(image: Array, factor: float, offset: float) -> Array:
    """value * factor + offset, cut at the ends of the range."""
    if image.dtype != np.uint8:
        return np.clip(image * factor + offset, 0, 1).astype(image.dtype)
    return _looked_up(image, np.clip(np.arange(256) * factor + offset, 0, 255))


def _looked_up(image: Array, table: Array) -> Array:
    """Each byte replaced by its entry: one for all channels, or (256, channels)."""
    pixels = np.ascontiguousarray(image)
    if table.ndim == 1:
        return _like(cv2.LUT(pixels, table.astype(np.uint8)), image)
    return _like(cv2.LUT(pixels, table.astype(np.uint8)[:, None, :]), image)


def _on_bytes(image: Array, table_of: Callable[[Array], Array]) -> Array:
    """The picture with each channel looked up in its table; floats are rounded to bytes for it."""
    if image.dtype != np.uint8:
        given = np.rint(np.clip(image, 0, 1) * 255.0).astype(np.uint8)
        return (_on_bytes(given, table_of) / 255.0).astype(image.dtype)
    planes = image[:, :, None] if image.ndim == 2 else image
    tables = [table_of(planes[:, :, number]) for number in range(planes.shape[2])]
    return _looked_up(image, tables[0] if len(tables) == 1 else np.stack(tables, axis=1))


def _even(channel: Array) -> Array:
    counts = np.bincount(channel.reshape(-1), minlength=256)
    step = (counts.sum() - counts[counts.nonzero()[0][-1]]) // 255
    if step == 0:
        return np.arange(256)
    below = np.concatenate([[0], np.cumsum(counts)[:-1]])
    table: Array = np.clip((below + step // 2) // step, 0, 255)
    return table


def _stretched(channel: Array) -> Array:
    low, high = int(channel.min()), int(channel.max())
    if low == high:
        return np.arange(256)
    table: Array = np.clip((np.arange(256) - low) * 255 // (high - low), 0, 255)
    return table


def _like(result: Array, source: Array) -> Array:
    """OpenCV drops a single channel; give it back."""
    return result[:, :, None] if result.ndim < source.ndim else result
