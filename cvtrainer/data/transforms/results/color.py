"""RandomColorJitter on `results`: the colour fields, changed alike, in a random order of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import cv2
import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.transforms.arguments import Range, chance, within
from cvtrainer.data.transforms.pixels_opencv import OpenCvPixels
from cvtrainer.data.transforms.results.contract import (
    Results,
    check_contract,
    own_generator,
    pictures,
)
from cvtrainer.data.transforms.scene import Array

_WIDEST = {
    "brightness": (0.0, 100.0),
    "contrast": (0.0, 100.0),
    "saturation": (0.0, 100.0),
    "hue": (-0.5, 0.5),
    "blur": (1.0, 1001.0),
    "gamma": (1e-3, 100.0),
    "clahe": (1e-3, 1000.0),
}
_USUAL: dict[str, Range] = {
    "brightness": (0.8, 1.2),
    "contrast": (0.8, 1.2),
    "saturation": (0.8, 1.2),
    "hue": (-0.05, 0.05),
    "blur": (3, 7),
    "gamma": (0.8, 1.25),
    "clahe": (1.0, 4.0),
}
_USUAL_P = 0.5
_NEUTRAL = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0, "gamma": 1.0}
_TILES = (8, 8)


class _Step(NamedTuple):
    name: str
    limit: tuple[float, float]
    p: float


class RandomColorJitter:
    """Brightness, contrast, saturation, hue, blur, gamma and CLAHE, in a random order.

    Each has a `limit` ([low, high], or one number) and a probability `p` of its own. A step that
    is not named is off; one that is named with `p` alone takes a usual range, with `limit` alone
    p = 0.5. Factors multiply: contrast from the grey mean, saturation from the own grey. `hue` is
    a share of the circle, `blur` an odd kernel size, `clahe` a clip limit on 8 x 8 tiles.
    """

    thread_safe: ClassVar[bool] = True

    def __init__(
        self,
        *,
        brightness_limit: Range | None = None,
        brightness_p: float | None = None,
        contrast_limit: Range | None = None,
        contrast_p: float | None = None,
        saturation_limit: Range | None = None,
        saturation_p: float | None = None,
        hue_limit: Range | None = None,
        hue_p: float | None = None,
        blur_limit: Range | None = None,
        blur_p: float | None = None,
        gamma_limit: Range | None = None,
        gamma_p: float | None = None,
        clahe_limit: Range | None = None,
        clahe_p: float | None = None,
    ) -> None:
        given = (
            ("brightness", brightness_limit, brightness_p),
            ("contrast", contrast_limit, contrast_p),
            ("saturation", saturation_limit, saturation_p),
            ("hue", hue_limit, hue_p),
            ("blur", blur_limit, blur_p),
            ("gamma", gamma_limit, gamma_p),
            ("clahe", clahe_limit, clahe_p),
        )
        self.steps = tuple(_step(*words) for words in given if words[1:] != (None, None))
        self._pixels = OpenCvPixels()

    @property
    def scale_free(self) -> bool:
        """Whether a smaller picture would be changed alike."""
        return all(step.name not in ("blur", "clahe") for step in self.steps)

    def __call__(self, results: Results, rng: np.random.Generator | None = None) -> Results:
        check_contract(results, "RandomColorJitter")
        rng = own_generator(rng)
        drawn = [(step, rng.random() < step.p, rng.uniform(*step.limit)) for step in self.steps]
        changes = [
            self._change(step.name, float(amount))
            for step, chosen, amount in (drawn[k] for k in rng.permutation(len(drawn)))
            if chosen and amount != _NEUTRAL.get(step.name)
        ]
        if not changes:
            return results
        out = dict(results)
        for field, picture in pictures(results, "color_fields", "RandomColorJitter"):
            changed = picture
            for change in changes:
                changed = change(changed)
            out[field] = changed
        return out

    def _change(self, name: str, amount: float) -> Callable[[Array], Array]:
        if name == "blur":
            kernel = 2 * round((amount - 1) / 2) + 1
            return lambda picture: self._pixels.blur(picture, kernel, 0.0)
        if name == "clahe":
            return lambda picture: _clahe(picture, amount)
        operation = getattr(self._pixels, name)
        return lambda picture: operation(picture, amount)


def _step(name: str, limit: Range | None, p: float | None) -> _Step:
    low, high = _WIDEST[name]
    word = f"{name}_limit"
    given = _USUAL[name] if limit is None else limit
    span = within("RandomColorJitter", word, given, low=low, high=high)
    if name == "blur" and any(side % 2 != 1 for side in span):
        raise UserError(
            f"RandomColorJitter: {word} is {limit}", todo="Use odd kernel sizes, e.g. [3, 7]."
        )
    probability = _USUAL_P if p is None else p
    return _Step(name, span, chance(f"RandomColorJitter.{name}_p", probability))


def _clahe(picture: Array, clip: float) -> Array:
    """Local contrast of the lightness; floats are rounded to bytes for it."""
    if picture.dtype != np.uint8:
        given = np.rint(np.clip(picture, 0, 1) * 255.0).astype(np.uint8)
        return (_clahe(given, clip) / 255.0).astype(picture.dtype)
    even = cv2.createCLAHE(clipLimit=clip, tileGridSize=_TILES)
    if picture.ndim == 3 and picture.shape[2] == 3:
        lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)
        lab[..., 0] = even.apply(np.ascontiguousarray(lab[..., 0]))
        colored: Array = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
        return colored
    planes = picture.reshape(*picture.shape[:2], -1)
    channels = [even.apply(np.ascontiguousarray(planes[..., k])) for k in range(planes.shape[2])]
    return np.stack(channels, axis=2).reshape(picture.shape)
