"""What somebody wants predictions of, for a packaged model: pictures, and arrays of two kinds.

Bytes in an array are a picture; numbers with fractions are what the network takes, ready made. An
array with one dimension more holds several.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvtrainer.core.errors import BadSample, UserError
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.pictures.decoding import IMAGE_EXTENSIONS, decode_picture
from cvtrainer.pictures.rules import Decoding, to_rgb

_CHANNELS = (1, 3)


@dataclass(frozen=True)
class Given:
    """One thing to predict: a file, a picture (height x width x channels), or (`ready`) numbers."""

    name: str
    value: Path | NDArray[Any] | BadSample
    ready: bool = False

    def picture(self, spec: InputSpec) -> NDArray[Any]:
        """Its pixels, read now where it is a file."""
        if isinstance(self.value, BadSample):
            raise self.value
        if not isinstance(self.value, Path):
            return self.value
        try:
            data = self.value.read_bytes()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise BadSample(reason, kind="unreadable", where=self.name) from error
        words: Any = spec.truncated
        rules = Decoding(truncated=words, max_pixels=spec.max_pixels)
        return decode_picture(data, self.name, rules)


def given_of(given: Any) -> Iterator[Given]:
    """Everything that is meant, in the order of what was given."""
    if isinstance(given, list | tuple):
        for number, one in enumerate(given):
            yield from _of_one(one, f"[{number}]")
    else:
        yield from _of_one(given, "input")


def _of_one(given: Any, name: str) -> Iterator[Given]:
    if isinstance(given, str | Path):
        for file in _files(str(given)):
            yield from _of_file(file)
    elif isinstance(given, Image.Image):
        yield Given(name, to_rgb(given))
    elif isinstance(given, np.ndarray):
        yield from _of_array(given, name)
    else:
        raise UserError(
            f"nothing can be predicted of a {type(given).__name__}",
            todo="Give a path, a PIL image, a numpy array, or a list of these.",
        )


def _files(given: str) -> Iterator[str]:
    path = Path(given)
    if path.is_dir():
        found = list(_pictures_below(given))
        if not found:
            raise UserError("no picture is in this folder", where=given)
        yield from found
    elif path.exists() or not glob.has_magic(given):
        if not path.exists():
            raise UserError("no such file or folder", where=given)
        yield given
    else:
        matched = [one for one in sorted(glob.glob(given, recursive=True)) if Path(one).is_file()]
        if not matched:
            raise UserError("no file fits this pattern", where=given)
        yield from matched


def _pictures_below(folder: str) -> Iterator[str]:
    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith((*IMAGE_EXTENSIONS, ".npy")) and not name.startswith("."):
                yield os.path.join(here, name)


def _of_file(file: str) -> Iterator[Given]:
    if not file.lower().endswith(".npy"):
        yield Given(file, Path(file))
        return
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        reason = f"no array can be read: {error}"
        yield Given(file, BadSample(reason, kind="unreadable", where=file))
        return
    yield from _of_array(array, file)


def _of_array(array: NDArray[Any], name: str) -> Iterator[Given]:
    """The samples in an array."""
    ready = array.dtype.kind == "f"
    several = array.ndim == 4
    if array.ndim not in ((3, 4) if ready else (2, 3, 4)):
        form = "[C, H, W] or [N, C, H, W]" if ready else "HW, HWC or NHWC bytes"
        what = f"{list(array.shape)} {array.dtype} is no picture"
        yield Given(name, BadSample(what, kind="value", where=name, todo=f"Give {form}."))
        return
    for number, one in enumerate(array if several else [array]):
        place = f"{name}[{number}]" if several else name
        yield Given(place, one, ready=True) if ready else _of_pixels(one, place)


def _of_pixels(pixels: NDArray[Any], name: str) -> Given:
    """Height, width, channels; these may be in front where they cannot be behind."""
    if pixels.ndim == 3 and pixels.shape[2] not in (*_CHANNELS, 4):
        pixels = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    if pixels.dtype != np.uint8 or (pixels.ndim == 3 and pixels.shape[2] not in _CHANNELS):
        what = f"{list(pixels.shape)} {pixels.dtype} is no picture"
        return Given(name, BadSample(what, kind="value", where=name, todo="Give bytes."))
    return Given(name, pixels)
