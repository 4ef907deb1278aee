"""Pillow as the reader of everything, with limits that hold for one picture and not for all.

Pillow keeps its limits in module variables, which threads share; here the header is read by the
format's own reader, its size is checked, and what a cut-off file has given stays in the picture.
No variable of Pillow is changed.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from contextlib import suppress
from functools import lru_cache

from PIL import Image
from PIL.ImageFile import ImageFile

from cvtrainer.core.errors import BadSample
from cvtrainer.pictures.declared_sizes import cut_off, early_sizes
from cvtrainer.pictures.rules import Decoding

_NEED_A_PROGRAM = frozenset(("EPS",))
_NOT_THIS_FORMAT = (SyntaxError, IndexError, TypeError, KeyError, struct.error)
_CUT_WORDS = ("truncated", "premature end", "unexpected end", "incomplete")
_BOMB_WORDS = ("too large", "too much memory")
_loading = threading.Lock()


def open_picture(data: bytes, name: str, decoding: Decoding) -> ImageFile:
    """The picture with its header read and its size allowed; no pixels yet."""
    if not data:
        raise BadSample("the file is empty", kind="empty", where=name)
    for size in early_sizes(data):
        check_size(*size, name, decoding)
    try:
        picture = _identified(data)
    except Exception as error:  # a reader of Pillow may raise anything on a broken file
        raise _told(error, data, name) from error
    if picture is None:
        kind = "truncated" if cut_off(data) else "unreadable"
        raise BadSample("not an image that can be read", kind=kind, where=name)
    check_size(*picture.size, name, decoding)
    return picture


def load_picture(data: bytes, name: str, decoding: Decoding) -> ImageFile:
    """The picture with its pixels; what is missing is missing only where that is allowed."""
    picture = open_picture(data, name, decoding)
    try:
        picture.load()
        return picture
    except Exception as error:
        if decoding.truncated != "load":
            raise _told(error, data, name) from error
        if picture.format in ("JPEG", "MPO") and not data.endswith(_END_OF_JPEG):
            return load_picture(data + _END_OF_JPEG, name, decoding)
        if _so_far(picture):
            return picture
        raise _told(error, data, name) from error


def check_size(width: int, height: int, name: str, decoding: Decoding) -> None:
    """Refuse a picture of more pixels than allowed."""
    if width * height > decoding.max_pixels:
        raise BadSample(
            f"{width}x{height} pixels are more than max_pixels allows ({decoding.max_pixels:,})",
            kind="bomb",
            where=name,
        )


_END_OF_JPEG = b"\xff\xd9"


def _identified(data: bytes) -> ImageFile | None:
    _quiet()
    with _loading:
        Image.init()
    prefix = data[:16]
    for form in tuple(Image.ID):
        opened, accepts = Image.OPEN[form]
        if form in _NEED_A_PROGRAM:
            continue
        accepted = True if accepts is None else accepts(prefix)
        if isinstance(accepted, str) or not accepted:
            continue
        with suppress(*_NOT_THIS_FORMAT):
            return opened(io.BytesIO(data), "")
    return None


def _so_far(picture: ImageFile) -> bool:
    """Keep what was decoded before the end; False where nothing had begun."""
    if getattr(picture, "_im", None) is None:
        return False
    if picture.tile:
        picture.tile = []
        with suppress(Exception):
            picture.load_end()
    return True


def _told(error: Exception, data: bytes, name: str) -> BadSample:
    """What that exception says about the file."""
    if isinstance(error, BadSample):
        return error
    if isinstance(error, struct.error):  # a file of a few bytes, too short for any format
        return BadSample("not an image that can be read", kind="unreadable", where=name)
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    words = text.lower()
    if isinstance(error, Image.DecompressionBombError | MemoryError) or any(
        word in words for word in _BOMB_WORDS
    ):
        return BadSample(f"the image needs too much memory ({text})", kind="bomb", where=name)
    if isinstance(error, EOFError) or cut_off(data) or any(word in words for word in _CUT_WORDS):
        return BadSample(f"the image is cut off ({text})", kind="truncated", where=name)
    return BadSample(f"the image cannot be decoded ({text})", kind="unreadable", where=name)


@lru_cache(maxsize=1)
def _quiet() -> None:
    """Pillow's remarks on odd tags are not for those who train; said once, for all threads."""
    warnings.filterwarnings("ignore", module=r"PIL\.")
