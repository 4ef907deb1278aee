"""What the first bytes of a picture file say: format, colours, size, which way is up.

Nothing is decoded. A file that only calls itself a picture is told by its content, since formats
are found by their own marks and never by the name.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from io import BytesIO

from PIL import Image

from cvtrainer.data.encoded import Encoded

_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_WITH_EXIF_AT_HAND = ("JPEG", "MPO", "TIFF", "WEBP")


@dataclass(frozen=True, slots=True)
class Header:
    """`width` and `height` are those of the upright picture."""

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    bytes: int
    deep: bool
    """More than eight bits for a colour."""
    animated: bool = False
    transparent: bool = False
    """Several frames, and pixels that can be seen through: known where the bytes were read."""

    @property
    def stored(self) -> tuple[int, int]:
        """Height and width as the file stores them, before it is turned upright."""
        if self.orientation in _SIDEWAYS:
            return self.width, self.height
        return self.height, self.width

    @property
    def sideways(self) -> bool:
        """Whether turning it upright exchanges height and width."""
        return self.orientation in _SIDEWAYS


def read_header(encoded: Encoded, data: bytes | None = None) -> Header:
    """The header of that picture; `data` are its bytes where they were read already.

    Raises what Pillow raises where there is no picture.
    """
    whole_file = encoded.data is None and encoded.length is None
    if data is None and whole_file:
        with Image.open(encoded.path) as picture:
            return _of(picture, os.path.getsize(encoded.path))
    content = encoded.read() if data is None else data
    with Image.open(BytesIO(content)) as picture:
        found = _of(picture, len(content))
        if data is None:
            return found
        animated = _animated(picture)
    with Image.open(BytesIO(content)) as picture:
        return replace(found, animated=animated, transparent=_transparent(picture))


def _of(picture: Image.Image, size: int) -> Header:
    orientation = 1
    if picture.format in _WITH_EXIF_AT_HAND or "exif" in picture.info:
        try:
            found = picture.getexif().get(_ORIENTATION, 1)
        except Exception:  # damaged EXIF says nothing about which way is up
            found = 1
        orientation = found if found in range(1, 9) else 1
    width, height = picture.size
    if orientation in _SIDEWAYS:
        width, height = height, width
    deep = picture.mode.startswith(("I", "F")) or _png_bits(picture) > 8
    return Header(picture.format or "", picture.mode, width, height, orientation, size, deep)


def _animated(picture: Image.Image) -> bool:
    try:
        return bool(getattr(picture, "is_animated", False))
    except Exception:  # frames behind the first do not matter
        return False


def _transparent(picture: Image.Image) -> bool:
    """Whether any pixel is not opaque."""
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return False
    try:
        least = picture.convert("RGBA").getchannel("A").getextrema()[0]
    except Exception:  # decoding will say what is wrong
        return False
    return isinstance(least, int | float) and least < 255


def _png_bits(picture: Image.Image) -> int:
    """Bits for a colour of a PNG: Pillow brings 16-bit colours to eight without saying so."""
    if picture.format != "PNG" or picture.mode not in ("RGB", "RGBA", "LA"):
        return 8
    tiles = getattr(picture, "tile", None) or ()
    raw = str(tiles[0][3]) if tiles and isinstance(tiles[0][3], str) else ""
    return 16 if "16" in raw else 8
