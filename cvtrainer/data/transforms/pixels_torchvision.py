"""Pixel operations for the Torchvision back end: `torchvision.transforms.v2.functional`.

Pictures stay HWC arrays between transforms; a tensor is a view of them, not a copy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

from cvtrainer.core.errors import UserError
from cvtrainer.data.transforms.pixels import Fill, Motion
from cvtrainer.data.transforms.scene import Array

_KERNELS = {
    "nearest": InterpolationMode.NEAREST_EXACT,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
}


class TorchvisionPixels:
    """See `pixels.PixelOperations`."""

    name = "Torchvision"

    def resize(
        self, image: Array, size: tuple[int, int], interpolation: str, antialias: bool | None
    ) -> Array:
        """To that size; antialiased unless `antialias` is false."""
        kernel = _kernel(interpolation)
        smooth = antialias is not False and kernel is not InterpolationMode.NEAREST_EXACT
        return _on_tensor(
            image, lambda t: functional.resize(t, list(size), kernel, antialias=smooth)
        )

    def affine(self, image: Array, motion: Motion, interpolation: str, fill: Fill) -> Array:
        """Moved within its own frame."""
        kernel = InterpolationMode.NEAREST if interpolation == "nearest" else _kernel(interpolation)
        if kernel is InterpolationMode.BICUBIC:
            raise UserError("Torchvision cannot move pictures with bicubic", todo="Use bilinear.")

        def move(picture: Tensor) -> Tensor:
            height, width = picture.shape[-2:]
            moved: Tensor = functional.affine(
                picture,
                angle=-motion.angle,
                translate=list(motion.shift),
                scale=motion.scale,
                shear=list(motion.shear),
                interpolation=kernel,
                fill=list(fill) if isinstance(fill, tuple) else fill,
                center=[width / 2.0, height / 2.0],
            )
            return moved

        return _on_tensor(image, move)

    def brightness(self, image: Array, factor: float) -> Array:
        """Values times `factor`."""
        return _on_tensor(image, lambda t: functional.adjust_brightness(t, factor))

    def contrast(self, image: Array, factor: float) -> Array:
        """Distance from the mean grey times `factor`."""
        return _on_tensor(image, lambda t: functional.adjust_contrast(t, factor))

    def saturation(self, image: Array, factor: float) -> Array:
        """Distance from the own grey times `factor`; a grey picture stays."""
        return _on_tensor(image, lambda t: functional.adjust_saturation(t, factor))

    def hue(self, image: Array, shift: float) -> Array:
        """Hue turned by `shift` of a full circle; a grey picture stays."""
        return _on_tensor(image, lambda t: functional.adjust_hue(t, shift))

    def grey(self, image: Array) -> Array:
        """Without colour, with the same number of channels."""
        if image.ndim == 2 or image.shape[2] != 3:
            return image
        return _on_tensor(image, lambda t: functional.rgb_to_grayscale(t, num_output_channels=3))

    def blur(self, image: Array, kernel: int, sigma: float) -> Array:
        """Gaussian blur."""
        side = kernel or 2 * round(3 * sigma) + 1
        return _on_tensor(
            image, lambda t: functional.gaussian_blur(t, [side, side], [sigma, sigma])
        )

    def gamma(self, image: Array, gamma: float) -> Array:
        """Values of 0..1 to that power."""
        return _on_tensor(image, lambda t: functional.adjust_gamma(t, gamma))

    def invert(self, image: Array) -> Array:
        """Light and dark exchanged."""
        return _on_tensor(image, functional.invert)

    def posterize(self, image: Array, bits: int) -> Array:
        """Only the upper `bits` of each byte."""
        return _on_tensor(image, lambda t: functional.posterize(t, bits))

    def solarize(self, image: Array, threshold: float) -> Array:
        """Values from `threshold` (of 1) up inverted."""
        full = 255.0 if image.dtype == np.uint8 else 1.0
        return _on_tensor(image, lambda t: functional.solarize(t, threshold * full))

    def equalize(self, image: Array) -> Array:
        """Each channel with an even histogram."""
        return _on_tensor(image, functional.equalize)

    def autocontrast(self, image: Array) -> Array:
        """Each channel from 0 to full."""
        return _on_tensor(image, functional.autocontrast)

    def sharpness(self, image: Array, factor: float) -> Array:
        """Distance from the smoothed picture times `factor`; the outermost pixels stay."""
        return _on_tensor(image, lambda t: functional.adjust_sharpness(t, factor))

    def warp(self, image: Array, source: Array, interpolation: str, fill: Fill) -> Array:
        """Each pixel from its place in `source`; outside there is `fill`."""
        kernel = InterpolationMode.NEAREST if interpolation == "nearest" else _kernel(interpolation)
        height, width = image.shape[:2]
        y, x = np.mgrid[0:height, 0:width] + 0.5
        shift = (source - np.stack([x, y], axis=2)) * (2.0 / width, 2.0 / height)
        displacement = torch.from_numpy(shift.astype(np.float32))[None]
        filled = list(fill) if isinstance(fill, tuple) else fill
        return _on_tensor(image, lambda t: functional.elastic(t, displacement, kernel, fill=filled))


def _kernel(interpolation: str) -> InterpolationMode:
    try:
        return _KERNELS[interpolation]
    except KeyError as error:
        raise UserError(
            f"Torchvision has no interpolation {interpolation!r}",
            todo=f"Use {', '.join(_KERNELS)}.",
        ) from error


def _on_tensor(image: Array, change: Callable[[Tensor], Tensor]) -> Array:
    """A HWC (or HW) array through an operation on CHW tensors."""
    flat = image.ndim == 2
    pixels = image[:, :, None] if flat else image
    if any(stride < 0 for stride in pixels.strides) or not pixels.flags.writeable:
        pixels = pixels.copy()
    changed = change(torch.from_numpy(pixels).permute(2, 0, 1))
    out = np.ascontiguousarray(changed.permute(1, 2, 0).numpy())
    return out[:, :, 0] if flat else out
