"""The transforms of the shared vocabulary that give each value of a pixel another value.

Named and parametrised as Albumentations does, where it has the same one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import numpy as np

from cvtrainer.data.transforms.arguments import Range, chance, within
from cvtrainer.data.transforms.pixels import PixelOperations
from cvtrainer.data.transforms.scene import Array, Scene


class _Tone:
    """One operation with one drawn amount, with probability p."""

    scale_free: ClassVar[bool] = True

    def __init__(self, p: float, amounts: tuple[float, float] = (0.0, 0.0)) -> None:
        self.p = chance(type(self).__name__, p)
        self.amounts = amounts

    def apply(self, scene: Scene, rng: np.random.Generator, pixels: PixelOperations) -> Scene:
        """The scene, perhaps changed."""
        if rng.random() >= self.p:
            return scene
        amount = float(rng.uniform(*self.amounts))
        return scene.with_image(self.operation(pixels, amount)(scene.image))

    def operation(self, pixels: PixelOperations, amount: float) -> Callable[[Array], Array]:
        """The back end's operation with that amount."""
        raise NotImplementedError


class RandomGamma(_Tone):
    """Values of 0..1 to a power from `gamma_limit`, in percent."""

    def __init__(self, *, gamma_limit: Range = (80, 120), p: float = 0.5) -> None:
        super().__init__(p, within("RandomGamma", "gamma_limit", gamma_limit, low=1e-3, high=1e6))

    def operation(self, pixels: PixelOperations, amount: float) -> Callable[[Array], Array]:
        return lambda image: pixels.gamma(image, amount / 100.0)


class Posterize(_Tone):
    """Only the upper `num_bits` (a number or [low, high]) of each byte."""

    def __init__(self, *, num_bits: Range = 4, p: float = 0.5) -> None:
        low, high = within("Posterize", "num_bits", num_bits, low=1, high=8)
        super().__init__(p, (low, high + 1 - 1e-9))

    def operation(self, pixels: PixelOperations, amount: float) -> Callable[[Array], Array]:
        return lambda image: pixels.posterize(image, int(amount))


class Solarize(_Tone):
    """Values above a threshold from `threshold_range` (of 1) inverted."""

    def __init__(self, *, threshold_range: Range = (0.5, 0.5), p: float = 0.5) -> None:
        super().__init__(
            p, within("Solarize", "threshold_range", threshold_range, low=0.0, high=1.0)
        )

    def operation(self, pixels: PixelOperations, amount: float) -> Callable[[Array], Array]:
        return lambda image: pixels.solarize(image, amount)


class Equalize(_Tone):
    """Each channel with an even histogram."""

    def __init__(self, *, p: float = 0.5) -> None:
        super().__init__(p)

    def operation(self, pixels: PixelOperations, amount: float) -> Callable[[Array], Array]:
        return pixels.equalize


class AutoContrast(_Tone):
    """Each channel stretched from 0 to full."""

    def __init__(self, *, p: float = 0.5) -> None:
        super().__init__(p)

    def operation(self, pixels: PixelOperations, amount: float) -> Callable[[Array], Array]:
        return pixels.autocontrast


class InvertImg(_Tone):
    """Light and dark exchanged."""

    def __init__(self, *, p: float = 0.5) -> None:
        super().__init__(p)

    def operation(self, pixels: PixelOperations, amount: float) -> Callable[[Array], Array]:
        return pixels.invert


class Sharpness(_Tone):
    """Sharper or softer by a factor from `factor`; 1 leaves the picture, 0 smooths it."""

    scale_free: ClassVar[bool] = False

    def __init__(self, *, factor: Range = (0.5, 1.5), p: float = 0.5) -> None:
        super().__init__(p, within("Sharpness", "factor", factor, low=0.0, high=100.0))

    def operation(self, pixels: PixelOperations, amount: float) -> Callable[[Array], Array]:
        return lambda image: pixels.sharpness(image, amount)
