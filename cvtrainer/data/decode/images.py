"""From the bytes of an image file to pixels, to class numbers, or just to its size.

Ordinary JPEGs go through simplejpeg, which gives the same pixels as Pillow sooner and lets other
threads work meanwhile; Pillow reads everything else and judges what simplejpeg will not take.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import simplejpeg
from PIL.ImageFile import ImageFile

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import BadSample
from cvtrainer.pictures.declared_sizes import png_may_be_turned
from cvtrainer.pictures.decoding import decode_picture
from cvtrainer.pictures.jpeg_header import JpegHeader, read_jpeg_header
from cvtrainer.pictures.rules import (
    Decoding,
    Pixels,
    orientation_of,
    swaps_sides,
    upright,
)
from cvtrainer.pictures.with_pillow import check_size, load_picture, open_picture

_EIGHTHS = (1, 2, 4)
"""Shares of the full size that take less time than all of it and are means of whole squares."""
_DEFAULT = Decoding()
_HEAD = 1 << 16


def decode_image(
    data: bytes,
    name: str,
    decoding: Decoding = _DEFAULT,
    *,
    at_least: tuple[int, int] | None = None,
) -> Pixels:
    """The picture in those bytes, upright, as RGB uint8.

    With `decoding.scaled` a JPEG may come smaller, but never below `at_least` (height and width
    of the upright picture). A bad file is a `BadSample`; with `truncated: error` one that is cut
    off is a plain `UserError`, which ends the run.
    """
    header = read_jpeg_header(data)
    if header is not None:
        check_size(header.width, header.height, name, decoding)
        pixels = _ordinary_jpeg(data, header, at_least if decoding.scaled else None)
        if pixels is not None:
            return pixels
    return decode_picture(data, name, decoding)


def decode_mask(data: bytes, name: str, decoding: Decoding = _DEFAULT) -> Pixels:
    """A mask file as height x width of class numbers: palette indices or grey values, untouched.

    A mask that is cut off is a bad sample whatever `truncated` says: class 0 is no guess.
    """
    strict = Decoding(max_pixels=decoding.max_pixels)
    picture = load_picture(data, name, strict)
    numbers = np.asarray(picture)
    if picture.mode not in ("L", "P", "1") and not picture.mode.startswith("I"):
        raise BadSample(
            f"a mask file of mode {picture.mode}, not grey or palette",
            kind="annotation",
            where=name,
            todo="Save class numbers as an 8-bit grey or palette PNG.",
        )
    if picture.mode.startswith("I") and (numbers.min() < 0 or numbers.max() > 255):
        raise BadSample(
            f"a mask with numbers from {numbers.min()} to {numbers.max()}, outside 0 to 255",
            kind="annotation",
            where=name,
        )
    return upright(numbers.astype(np.uint8), orientation_of(picture))


def image_size(data: bytes, name: str, decoding: Decoding = _DEFAULT) -> tuple[int, int]:
    """Height and width of the upright picture, from the header alone."""
    header = read_jpeg_header(data)
    if header is not None:
        height, width, orientation = header
        check_size(width, height, name, decoding)
    else:
        picture = open_picture(data, name, decoding)
        width, height = picture.size
        orientation = _declared_orientation(picture, data)
    return (width, height) if swaps_sides(orientation) else (height, width)


def read_image(path: str | Path, decoding: Decoding = _DEFAULT) -> Pixels:
    """The picture in that file, upright, as RGB uint8."""
    return decode_image(_bytes(path), str(path), decoding)


def read_mask(path: str | Path) -> Pixels:
    """The class numbers in that mask file."""
    return decode_mask(_bytes(path), str(path))


def read_size(path: str | Path) -> tuple[int, int]:
    """Height and width of the upright picture in that file; of a JPEG only the head is read."""
    try:
        with open(path, "rb", buffering=0) as file:
            header = read_jpeg_header(file.read(_HEAD))
    except FileNotFoundError as error:
        raise UserError("no such image file", where=str(path)) from error
    if header is None:
        return image_size(_bytes(path), str(path))
    height, width, orientation = header
    return (width, height) if swaps_sides(orientation) else (height, width)


def _declared_orientation(picture: ImageFile, data: bytes) -> int:
    """The turn that `picture.size` does not know of yet, without decoding where that can be."""
    if picture.format == "TIFF":  # Pillow gives the size of the upright picture
        return 1
    if picture.format == "PNG" and not png_may_be_turned(data):
        return 1
    return orientation_of(picture)


def _ordinary_jpeg(
    data: bytes, header: JpegHeader, at_least: tuple[int, int] | None
) -> Pixels | None:
    """The picture, or None where the file has oddities that Pillow shall judge."""
    smaller = None if at_least is None else _smaller_size(header, at_least)
    try:
        if smaller is None:
            pixels: Pixels = simplejpeg.decode_jpeg(data, colorspace="RGB")
        else:
            pixels = simplejpeg.decode_jpeg(
                data, colorspace="RGB", min_height=smaller[0], min_width=smaller[1]
            )
    except ValueError:
        return None
    return upright(pixels, header.orientation)


def _smaller_size(header: JpegHeader, at_least: tuple[int, int]) -> tuple[int, int] | None:
    """The stored size to decode at, when one of the quick ones is enough."""
    needed = at_least[::-1] if swaps_sides(header.orientation) else at_least
    for eighths in _EIGHTHS:
        size = -(-header.height * eighths // 8), -(-header.width * eighths // 8)
        if size[0] >= needed[0] and size[1] >= needed[1]:
            return size
    return None


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise UserError("no such image file", where=str(path)) from error
    except OSError as error:
        raise BadSample(
            f"the file cannot be read ({error.strerror})", kind="unreadable", where=str(path)
        ) from error
