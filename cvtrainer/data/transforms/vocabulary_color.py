"""The transforms of the shared vocabulary that change colours and sharpness, not places."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.transforms.arguments import Range, chance
from cvtrainer.data.transforms.pixels import PixelOperations
from cvtrainer.data.transforms.scene import Scene


class ColorJitter:
    """Brightness, contrast, saturation and hue, each from its range, in a random order.

    A number n means 1-n..1+n (for hue -n..n, at most 0.5); a step that is not named stays off.
    """

    scale_free: ClassVar[bool] = True

    def __init__(
        self,
        *,
        brightness: Range = 0.0,
        contrast: Range = 0.0,
        saturation: Range = 0.0,
        hue: Range = 0.0,
        p: float = 1.0,
    ) -> None:
        self.brightness = _factors("brightness", brightness)
        self.contrast = _factors("contrast", contrast)
        self.saturation = _factors("saturation", saturation)
        self.hue = _turns(hue)
        self.p = chance("ColorJitter", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene in other colours."""
        if rng.random() >= self.p:
            return scene
        steps = (
            (pixels.brightness, self.brightness, 1.0),
            (pixels.contrast, self.contrast, 1.0),
            (pixels.saturation, self.saturation, 1.0),
            (pixels.hue, self.hue, 0.0),
        )
        order = rng.permutation(len(steps))
        amounts = [float(rng.uniform(*limits)) for _, limits, _ in steps]
        image = scene.image
        for number in order:
            change, _, neutral = steps[number]
            if amounts[number] != neutral:
                image = change(image, amounts[number])
        return scene.with_image(image)


class ToGray:
    """Without colour but with as many channels, with probability p."""

    scale_free: ClassVar[bool] = True

    def __init__(self, *, p: float = 0.5) -> None:
        self.p = chance("ToGray", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, perhaps in grey."""
        if rng.random() >= self.p:
            return scene
        return scene.with_image(pixels.grey(scene.image))


class GaussianBlur:
    """Blurred with a sigma from `sigma`; `kernel_size` 0 takes what the sigma needs."""

    def __init__(self, *, kernel_size: int = 0, sigma: Range = (0.5, 3.0), p: float = 0.5) -> None:
        if kernel_size < 0 or (kernel_size and kernel_size % 2 == 0):
            raise UserError(
                f"GaussianBlur: kernel_size is {kernel_size}", todo="Use 0 or an odd number."
            )
        low, high = (sigma, sigma) if isinstance(sigma, int | float) else sigma
        if not 0 < low <= high:
            raise UserError(f"GaussianBlur: sigma is {sigma}", todo="Give [low, high] above 0.")
        self.kernel_size = kernel_size
        self.sigma = (float(low), float(high))
        self.p = chance("GaussianBlur", p)

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, perhaps blurred."""
        if rng.random() >= self.p:
            return scene
        sigma = float(rng.uniform(*self.sigma))
        kernel = self.kernel_size or 2 * max(1, round(3 * sigma)) + 1
        return scene.with_image(pixels.blur(scene.image, kernel, sigma))


def _factors(word: str, value: Range) -> tuple[float, float]:
    if isinstance(value, int | float):
        return max(0.0, 1.0 - abs(value)), 1.0 + abs(value)
    low, high = (float(v) for v in value)
    if not 0 <= low <= high:
        raise UserError(f"ColorJitter: {word} is {list(value)}", todo="Give [low, high] from 0 up.")
    return low, high


def _turns(value: Range) -> tuple[float, float]:
    low, high = (-abs(value), abs(value)) if isinstance(value, int | float) else value
    if not -0.5 <= low <= high <= 0.5:
        raise UserError(f"ColorJitter: hue is {value}", todo="Stay within -0.5..0.5.")
    return float(low), float(high)
