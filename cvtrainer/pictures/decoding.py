"""From the bytes of a picture's file to its pixels, by Pillow: every format, every rule."""

from __future__ import annotations

from cvtrainer.core.errors import BadSample, UserError
from cvtrainer.pictures.jpeg_header import read_jpeg_header
from cvtrainer.pictures.rules import Decoding, Pixels, to_rgb
from cvtrainer.pictures.with_pillow import check_size, load_picture

IMAGE_EXTENSIONS = (
    ".jpg",
    ".jpeg",
    ".jfif",
    ".png",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".gif",
    ".avif",
    ".jp2",
)
"""What names of picture files end with."""


def decode_picture(data: bytes, name: str, decoding: Decoding) -> Pixels:
    """The picture in those bytes, upright, as RGB uint8.

    A bad file is a `BadSample`; with `truncated: error` one that is cut off is a plain
    `UserError`, which ends the run.
    """
    header = read_jpeg_header(data)
    if header is not None:
        check_size(header.width, header.height, name, decoding)
    try:
        picture = load_picture(data, name, decoding)
        return to_rgb(picture, None if header is None else header.orientation)
    except BadSample as error:
        if error.kind == "truncated" and decoding.truncated == "error":
            raise UserError(
                error.what, where=name, todo="Repair the file, or choose truncated: replace."
            ) from error
        raise
