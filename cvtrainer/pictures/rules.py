"""What every kind of picture becomes: upright RGB, uint8, height x width x 3. One rule per kind.

`RULES` says each rule in words; `to_rgb` is what carries them out for any Pillow image, and the
quick way for ordinary JPEGs gives the same pixels. `Decoding` holds what a split may choose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvtrainer.core.errors import UserError

Pixels = NDArray[np.uint8]

RULES: dict[str, str] = {
    "orientation": "The orientation in EXIF (or else XMP) is applied, in every format.",
    "broken EXIF": "An EXIF block that cannot be read is ignored: the picture stays as stored.",
    "grey": "Grey is repeated for red, green and blue.",
    "1-bit": "Unset is 0, set is 255.",
    "palette": "Every index becomes the colour of the palette.",
    "alpha": "What is transparent lies on white; so does a colour declared transparent.",
    "CMYK": "Inks become light without a colour profile; Adobe's inverted inks in JPEG are known.",
    "YCbCr": "Converted by the formula of JPEG, full range.",
    "LAB": "Converted from the D50 white point to sRGB.",
    "16-bit grey": "The largest number of the declared depth is white (65535 for 16 bits).",
    "16-bit colour": "The upper eight bits of each channel.",
    "32-bit grey": "65535 is white; less than 0 is black.",
    "float grey": "The smallest of 1, 255 and 65535 that no value exceeds is white; NaN is black.",
    "several frames": "The first frame.",
    "colour profile": "ICC profiles and gamma are not applied.",
    "bomb": "More pixels than `max_pixels` are refused from the header, before they take memory.",
    "truncated": "A file that is cut off is replaced; `load` takes what is there (the rest of a "
    "JPEG is grey, of others black), `error` stops the run.",
    "outside programs": "Formats that another program would have to draw (EPS) are refused.",
}

_WORDS = ("replace", "load", "error")
_VERSION = 1
"""Part of the key of cached pixels: to be raised whenever a rule gives other pixels."""


@dataclass(frozen=True)
class Decoding:
    """How the pictures of a split are decoded.

    `scaled` lets JPEGs be decoded at 1/2, 1/4 or 1/8 where the transforms need no more.
    """

    truncated: Literal["replace", "load", "error"] = "replace"
    scaled: bool = False
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        if self.truncated not in _WORDS:
            raise UserError(
                f"truncated: {self.truncated!r} is none of {', '.join(_WORDS)}",
                todo="Choose what happens to pictures that are cut off.",
            )
        if self.max_pixels < 1:
            raise UserError(f"max_pixels: {self.max_pixels} must be at least 1")

    def key(self) -> str:
        """These settings as a text that changes when they, or the rules, give other pixels."""
        return (
            f"rules={_VERSION} truncated={self.truncated} scaled={int(self.scaled)} "
            f"max_pixels={self.max_pixels}"
        )


_TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, 3),
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: np.rot90(p, 1),
}

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
_DEEP = ("I", "F")
_OPAQUE = ("RGB", "L", "1", "CMYK", "YCbCr", "LAB", "HSV")


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Stored pixels as they are meant to be seen; numbers that mean nothing change nothing."""
    turn = _TURNS.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def swaps_sides(orientation: int) -> bool:
    """Whether height and width change places."""
    return 5 <= orientation <= 8


def orientation_of(picture: Image.Image) -> int:
    """The orientation that a Pillow image declares; 1 where its EXIF block is broken."""
    try:
        found = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # whatever a broken block makes of Pillow
        return 1
    return found if isinstance(found, int) else 1


def to_rgb(picture: Image.Image, orientation: int | None = None) -> Pixels:
    """Any Pillow image as upright RGB uint8, turned by what it declares or by that number."""
    picture.load()
    pixels = _as_stored(picture)
    return upright(pixels, orientation_of(picture) if orientation is None else orientation)


def _as_stored(picture: Image.Image) -> Pixels:
    if picture.mode in _DEEP or picture.mode.startswith("I;16"):
        return _from_deep_grey(picture)
    if picture.mode in _OPAQUE and "transparency" not in picture.info:
        colours = picture if picture.mode == "RGB" else picture.convert("RGB")
        return np.array(colours, dtype=np.uint8)
    if picture.mode == "La":
        picture = picture.convert("LA")
    has_alpha = "A" in picture.getbands() or picture.mode == "RGBa"
    if not has_alpha and "transparency" not in picture.info:
        return np.array(picture.convert("RGB"), dtype=np.uint8)
    layered = picture.convert("RGBA")
    ground = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return np.array(Image.alpha_composite(ground, layered).convert("RGB"), dtype=np.uint8)


def _from_deep_grey(picture: Image.Image) -> Pixels:
    values = np.asarray(picture)
    grey = np.nan_to_num(values.astype(np.float32), nan=0.0)
    white = _white_of(picture, grey)
    plane = np.clip(np.rint(grey * (255.0 / white)), 0, 255).astype(np.uint8)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        plane[values == transparent] = 255
    return np.repeat(plane[:, :, None], 3, axis=2)


def _white_of(picture: Image.Image, grey: NDArray[np.float32]) -> float:
    if picture.mode == "F":
        top = float(grey.max(initial=0.0))
        return next((white for white in (1.0, 255.0, 65535.0) if top <= white), 65535.0)
    if picture.mode == "I":
        return 65535.0
    declared = getattr(picture, "tag_v2", {}).get(_BITS_PER_SAMPLE, 16)
    bits = declared[0] if isinstance(declared, tuple) else declared
    return float(2**bits - 1) if isinstance(bits, int) and 8 < bits <= 16 else 65535.0
