"""From an image file to RGB pixels as the camera meant them: uint8, height x width x 3.

Orientation from EXIF is applied, transparency lies on white, 16-bit greys are scaled and not cut.
A file that cannot be read whole is an error that names it: a half-grey picture is not a sample.
Pillow reads everything; ordinary JPEGs go through simplejpeg, which gives the same pixels sooner.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import BadSample

Pixels = NDArray[np.uint8]

IMAGE_EXTENSIONS = (
    ".jpg",
    ".jpeg",
    ".png",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".gif",
)


_ORIENTATION = 0x0112
_UPRIGHT: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, 3),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, 1),
}


def read_image(path: str | Path) -> Pixels:
    """The picture in that file, upright, as RGB uint8."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as picture:
                if picture.format == "JPEG" and picture.mode in ("RGB", "L"):
                    upright = int(picture.getexif().get(_ORIENTATION, 1))
                    pixels = _read_jpeg(Path(path), upright)
                    if pixels is not None:
                        return pixels
                picture.load()
                return to_rgb(picture)
    except FileNotFoundError as error:
        raise UserError("no such image file", where=str(path)) from error
    except UnidentifiedImageError as error:
        raise UserError(
            "not an image that can be read",
            where=str(path),
            todo="Remove the file or convert it to PNG or JPEG.",
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(
            f"the image cannot be decoded ({_one_line(error)})",
            where=str(path),
            todo="Repair or remove the file.",
        ) from error


@dataclass(frozen=True)
class Decoding:
    """How the pictures of a split are decoded."""

    truncated: Literal["replace", "load", "error"] = "replace"
    scaled: bool = False
    max_pixels: int = 100_000_000


def decode_image(
    data: bytes,
    name: str,
    decoding: Decoding | None = None,
    *,
    at_least: tuple[int, int] | None = None,
) -> Pixels:
    """The picture in those bytes."""
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return to_rgb(picture)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise BadSample(_one_line(error), kind="unreadable", where=name) from error


def decode_mask(data: bytes, name: str) -> Pixels:
    """Class numbers."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.array(picture, dtype=np.uint8)


def image_size(data: bytes, name: str) -> tuple[int, int]:
    """Height and width, upright."""
    height, width, _ = decode_image(data, name).shape
    return height, width


def to_rgb(picture: Image.Image) -> Pixels:
    """Any Pillow image as upright RGB uint8."""
    upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
        return _from_deep_grey(np.asarray(upright))
    if upright.mode == "RGB":
        return np.array(upright, dtype=np.uint8)
    if "A" in upright.getbands() or "transparency" in upright.info:
        layered = upright.convert("RGBA")
        ground = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        return np.array(Image.alpha_composite(ground, layered).convert("RGB"), dtype=np.uint8)
    return np.array(upright.convert("RGB"), dtype=np.uint8)


def _read_jpeg(path: Path, orientation: int) -> Pixels | None:
    """The picture, or None where the file has oddities that Pillow shall judge."""
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(path.read_bytes(), colorspace="RGB")
    except ValueError:
        return None
    if orientation not in _UPRIGHT:
        return pixels
    return np.ascontiguousarray(_UPRIGHT[orientation](pixels))


def read_mask(path: str | Path) -> Pixels:
    """A mask file as height x width of class numbers: palette indices or grey values, untouched."""
    try:
        with Image.open(path) as picture:
            if picture.mode not in ("L", "P", "1"):
                raise UserError(
                    f"a mask file of mode {picture.mode}, not grey or palette",
                    where=str(path),
                    todo="Save class numbers as an 8-bit grey or palette PNG.",
                )
            return np.array(picture, dtype=np.uint8)
    except OSError as error:
        raise UserError(
            f"the mask cannot be decoded ({_one_line(error)})", where=str(path)
        ) from error


def _from_deep_grey(values: NDArray[np.generic]) -> Pixels:
    """Greys of more than eight bits: 65535 (or 1.0 for floats) becomes 255."""
    grey = values.astype(np.float64)
    top = float(grey.max(initial=0.0))
    if values.dtype.kind == "f" and top <= 1.0:
        grey *= 255.0
    elif top > 255.0:
        grey /= 257.0
    plane = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return np.repeat(plane[:, :, None], 3, axis=2)


def _one_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
