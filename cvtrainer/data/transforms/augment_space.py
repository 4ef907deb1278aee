"""What RandAugment and TrivialAugment choose from: named changes of a scene by one amount.

Geometric ones move masks, boxes and keypoints too. Shears and turns are about the middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cvtrainer.data.transforms.pixels import Fill, Motion, PixelOperations
from cvtrainer.data.transforms.scene import Array, Scene


@dataclass(frozen=True)
class Look:
    """How moved pixels are made and what stands where none are."""

    interpolation: str
    fill: Fill
    fill_mask: int


Change = Callable[[Scene, float, PixelOperations, Look], Scene]


class Choice(NamedTuple):
    """A change, its amount at the weakest and the strongest magnitude, and whether its sign is
    drawn."""

    change: Change
    weakest: float = 0.0
    strongest: float = 0.0
    signed: bool = False

    def amount(self, magnitude: int, bins: int) -> float:
        """The amount at that magnitude of 0..bins - 1."""
        return self.weakest + (self.strongest - self.weakest) * magnitude / max(1, bins - 1)


def _moved(scene: Scene, motion: Motion, pixels: PixelOperations, look: Look) -> Scene:
    return scene.moved(
        motion.matrix(scene.height, scene.width),
        pixels.affine(scene.image, motion, look.interpolation, look.fill),
        lambda plane: pixels.affine(plane, motion, "nearest", float(look.fill_mask)),
    )


def rotate(scene: Scene, degrees: float, pixels: PixelOperations, look: Look) -> Scene:
    """Turned counter-clockwise."""
    return _moved(scene, Motion(angle=degrees), pixels, look)


def shear_x(scene: Scene, slope: float, pixels: PixelOperations, look: Look) -> Scene:
    """Rows shifted against each other."""
    motion = Motion(shear=(math.degrees(math.atan(slope)), 0.0))
    return _moved(scene, motion, pixels, look)


def shear_y(scene: Scene, slope: float, pixels: PixelOperations, look: Look) -> Scene:
    """Columns shifted against each other."""
    motion = Motion(shear=(0.0, math.degrees(math.atan(slope))))
    return _moved(scene, motion, pixels, look)


def translate_x(scene: Scene, share: float, pixels: PixelOperations, look: Look) -> Scene:
    """Shifted by a share of the width."""
    return _moved(scene, Motion(shift=(_pixels(share, scene.width), 0.0)), pixels, look)


def translate_y(scene: Scene, share: float, pixels: PixelOperations, look: Look) -> Scene:
    """Shifted by a share of the height."""
    return _moved(scene, Motion(shift=(0.0, _pixels(share, scene.height))), pixels, look)


def _pixels(share: float, side: int) -> float:
    return float(round(share * side))


def _colour(operation: Callable[[PixelOperations, Array, float], Array]) -> Change:
    def change(scene: Scene, amount: float, pixels: PixelOperations, look: Look) -> Scene:
        return scene.with_image(operation(pixels, scene.image, amount))

    return change


brightness = _colour(lambda pixels, image, amount: pixels.brightness(image, 1.0 + amount))
color = _colour(lambda pixels, image, amount: pixels.saturation(image, 1.0 + amount))
contrast = _colour(lambda pixels, image, amount: pixels.contrast(image, 1.0 + amount))
sharpness = _colour(lambda pixels, image, amount: pixels.sharpness(image, 1.0 + amount))
posterize = _colour(lambda pixels, image, amount: pixels.posterize(image, round(amount)))
solarize = _colour(lambda pixels, image, amount: pixels.solarize(image, amount))
autocontrast = _colour(lambda pixels, image, amount: pixels.autocontrast(image))
equalize = _colour(lambda pixels, image, amount: pixels.equalize(image))


def identity(scene: Scene, amount: float, pixels: PixelOperations, look: Look) -> Scene:
    """As it was."""
    return scene


def _space(
    *, shear: float, translate: float, turn: float, colour: float, bits: float
) -> Mapping[str, Choice]:
    return {
        "Identity": Choice(identity),
        "ShearX": Choice(shear_x, 0.0, shear, signed=True),
        "ShearY": Choice(shear_y, 0.0, shear, signed=True),
        "TranslateX": Choice(translate_x, 0.0, translate, signed=True),
        "TranslateY": Choice(translate_y, 0.0, translate, signed=True),
        "Rotate": Choice(rotate, 0.0, turn, signed=True),
        "Brightness": Choice(brightness, 0.0, colour, signed=True),
        "Color": Choice(color, 0.0, colour, signed=True),
        "Contrast": Choice(contrast, 0.0, colour, signed=True),
        "Sharpness": Choice(sharpness, 0.0, colour, signed=True),
        "Posterize": Choice(posterize, 8.0, bits),
        "Solarize": Choice(solarize, 1.0, 0.0),
        "AutoContrast": Choice(autocontrast),
        "Equalize": Choice(equalize),
    }


RAND_AUGMENT = _space(shear=0.3, translate=150.0 / 331.0, turn=30.0, colour=0.9, bits=4.0)
TRIVIAL_AUGMENT_WIDE = _space(shear=0.99, translate=32.0 / 224.0, turn=135.0, colour=0.99, bits=2.0)


def changed(
    scene: Scene,
    choice: Choice,
    magnitude: int,
    bins: int,
    rng: np.random.Generator,
    pixels: PixelOperations,
    look: Look,
) -> Scene:
    """The scene after that choice; the sign is drawn where it has one."""
    amount = choice.amount(magnitude, bins)
    if choice.signed and rng.random() < 0.5:
        amount = -amount
    return choice.change(scene, amount, pixels, look)
