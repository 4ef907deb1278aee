"""RandomFlip and Resize on `results`: every picture field, points and boxes move together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import cv2
import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.transforms.arguments import chance, size_of
from cvtrainer.data.transforms.frame import mirrored
from cvtrainer.data.transforms.pixels import resize_plane
from cvtrainer.data.transforms.results.contract import (
    Results,
    check_contract,
    move_places,
    own_generator,
    pictures,
    value_for,
)
from cvtrainer.data.transforms.scene import Array

_AXES: dict[str, tuple[int, ...]] = {"horizontal": (1,), "vertical": (0,), "diagonal": (0, 1)}
_KERNELS = {
    "INTER_NEAREST": None,
    "INTER_LINEAR": cv2.INTER_LINEAR,
    "INTER_CUBIC": cv2.INTER_CUBIC,
    "INTER_AREA": cv2.INTER_AREA,
    "INTER_LANCZOS4": cv2.INTER_LANCZOS4,
}


class RandomFlip:
    """Mirrored with probability p in one of the directions: horizontal, vertical, or diagonal,
    which is both at once."""

    thread_safe: ClassVar[bool] = True
    scale_free: ClassVar[bool] = True

    def __init__(self, direction: str | Sequence[str] = "horizontal", p: float = 0.5) -> None:
        self.directions = (direction,) if isinstance(direction, str) else tuple(direction)
        for word in self.directions or ("none",):
            if word not in _AXES:
                raise UserError(
                    f"RandomFlip: no direction {word!r}", todo=f"Use {', '.join(_AXES)}."
                )
        self.p = chance("RandomFlip", p)

    def __call__(self, results: Results, rng: np.random.Generator | None = None) -> Results:
        check_contract(results, "RandomFlip")
        rng = own_generator(rng)
        if rng.random() >= self.p:
            return results
        axes = _AXES[self.directions[int(rng.integers(0, len(self.directions)))]]
        out = dict(results)
        height, width = results["img"].shape[:2]
        for field, picture in pictures(results, "img_fields", "RandomFlip"):
            out[field] = picture
            for axis in axes:
                out[field] = mirrored(out[field], axis=axis)

        def opposite(places: Array) -> Array:
            moved = places.copy()
            for axis in axes:
                moved[:, 1 - axis] = (height, width)[axis] - places[:, 1 - axis]
            return moved

        move_places(out, opposite)
        return out


class Resize:
    """To `target_size`: a side, or (height, width).

    With `keep_ratio` the picture keeps its shape, in the middle of a border of `pad_value`. With
    `clip_border` points and boxes are cut at the border of the new picture.
    """

    thread_safe: ClassVar[bool] = True

    def __init__(
        self,
        target_size: int | Sequence[int],
        interpolation: str = "INTER_LINEAR",
        keep_ratio: bool = False,
        clip_border: bool = True,
    ) -> None:
        self.size = size_of("Resize", None, None, target_size)
        self.interpolation = interpolation
        self.keep_ratio = keep_ratio
        self.clip_border = clip_border
        _check_kernel(interpolation)

    def __call__(self, results: Results, rng: np.random.Generator | None = None) -> Results:
        check_contract(results, "Resize")
        out = dict(results)
        height, width = results["img"].shape[:2]
        inner = self.smallest(height, width, rng)
        top, left = (self.size[0] - inner[0]) // 2, (self.size[1] - inner[1]) // 2
        for field, picture in pictures(results, "img_fields", "Resize"):
            kernel = value_for(results, "interpolation", field, self.interpolation)
            fill = value_for(results, "pad_value", field, 0)
            own = self.smallest(picture.shape[0], picture.shape[1], rng)
            out[field] = _framed(_resized(picture, own, kernel), self.size, fill)
        scale = np.array([inner[1] / width, inner[0] / height])
        offset = np.array([left, top])

        def moved(places: Array) -> Array:
            there: Array = places * scale + offset
            if self.clip_border:
                np.clip(there, 0, self.size[::-1], out=there)
            return there

        move_places(out, moved)
        out["img_shape"] = out["img"].shape[:2]
        out["scale"] = (float(scale[0]), float(scale[1]))
        out["pad_offset"] = (left, top)
        return out

    def smallest(self, height: int, width: int, rng: np.random.Generator | None) -> tuple[int, int]:
        """The size that the picture itself gets, without its border."""
        if not self.keep_ratio:
            return self.size
        factor = min(self.size[0] / height, self.size[1] / width)
        return (
            min(self.size[0], max(1, round(height * factor))),
            min(self.size[1], max(1, round(width * factor))),
        )


def _check_kernel(name: object) -> None:
    if name not in _KERNELS:
        raise UserError(f"Resize: no interpolation {name!r}", todo=f"Use {', '.join(_KERNELS)}.")


def _resized(picture: Array, size: tuple[int, int], interpolation: Any) -> Array:
    _check_kernel(interpolation)
    if picture.shape[:2] == size:
        return picture
    kernel = _KERNELS[interpolation]
    if kernel is None:
        return resize_plane(picture, size)
    resized: Array = cv2.resize(picture, size[::-1], interpolation=kernel)
    return resized.reshape(*size, *picture.shape[2:])


def _framed(picture: Array, size: tuple[int, int], fill: Any) -> Array:
    """In the middle of a picture of that size."""
    height, width = picture.shape[:2]
    if (height, width) == size:
        return picture
    out = np.empty((*size, *picture.shape[2:]), dtype=picture.dtype)
    out[...] = fill
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    out[top : top + height, left : left + width] = picture
    return out
