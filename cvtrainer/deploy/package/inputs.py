"""What somebody wants predictions of, for a packaged model: pictures, or the arrays that it takes.

For a network of pictures, bytes in an array are a picture; numbers with fractions are what the
network takes, ready made. An array with one dimension more holds several.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cvtrainer.core.errors import BadSample, UserError
from cvtrainer.core.input_spec import InputSpec
from cvtrainer.deploy.contract import TAKES, Contract
from cvtrainer.pictures.decoding import IMAGE_EXTENSIONS, decode_picture
from cvtrainer.pictures.prepare import handed
from cvtrainer.pictures.rules import Decoding, to_rgb
from cvtrainer.pictures.way_back import WayBack

ARRAY_EXTENSION = ".npy"
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


class Inputs(Protocol):
    """Makes an artefact's rows of what somebody gives; `pictures` says whether that is pictures."""

    pictures: ClassVar[bool]

    def given(self, inputs: Any) -> Iterator[Given]:
        """Everything that is meant, in the order of what was given."""
        ...

    def row(self, one: Given) -> tuple[NDArray[Any], WayBack | None]:
        """The numbers of one input, and the way back to its picture."""
        ...


class PictureInputs:
    """See `Inputs`; ways back are for artefacts whose answers are `located` in the picture."""

    pictures: ClassVar[bool] = True

    def __init__(self, contract: Contract, spec: InputSpec, *, located: bool) -> None:
        self._contract = contract
        self._spec = spec
        self._located = located

    def given(self, inputs: Any) -> Iterator[Given]:
        return each(inputs, _of_one)

    def row(self, one: Given) -> tuple[NDArray[Any], WayBack | None]:
        contract, way = self._contract, None
        if one.ready and isinstance(one.value, np.ndarray):
            row = one.value
            if contract.takes != TAKES[0]:
                what = "this artefact takes pictures, and this is ready-made numbers"
                raise BadSample(what, kind="value", where=one.name)
        else:
            picture = one.picture(self._spec)
            row = handed(picture, self._spec, contract.takes)
            if self._located:
                way = WayBack.of(self._spec, picture.shape[0], picture.shape[1])
        return fitting(row, one.name, contract), way


def fitting(row: NDArray[Any], name: str, contract: Contract) -> NDArray[Any]:
    """The row, if the artefact takes such a shape."""
    wanted = contract.input.shape[1:]
    if len(row.shape) != len(wanted) or not all(
        want in (None, have) for want, have in zip(wanted, row.shape, strict=True)
    ):
        lengths = ", ".join("any" if one is None else str(one) for one in wanted)
        what = f"the network takes [{lengths}], and this is {list(row.shape)}"
        raise BadSample(what, kind="size", where=name)
    made = row.astype(contract.input.dtype, copy=False)
    if made.dtype.kind == "f" and not np.isfinite(made).all():
        raise BadSample("it holds values that are no numbers", kind="value", where=name)
    return made


def each(inputs: Any, of_one: Callable[[Any, str], Iterator[Given]]) -> Iterator[Given]:
    """One thing or a list of them, by names that messages can use."""
    if isinstance(inputs, list | tuple):
        for number, one in enumerate(inputs):
            yield from of_one(one, f"[{number}]")
    else:
        yield from of_one(inputs, "input")


def _of_one(given: Any, name: str) -> Iterator[Given]:
    if isinstance(given, str | Path):
        for file in files_of(str(given), (*IMAGE_EXTENSIONS, ARRAY_EXTENSION), "picture"):
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


def files_of(given: str, endings: tuple[str, ...], what: str) -> Iterator[str]:
    """The files that a path means; of a folder those with such endings."""
    path = Path(given)
    if path.is_dir():
        found = list(_below(given, endings))
        if not found:
            raise UserError(f"no {what} is in this folder", where=given)
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


def _below(folder: str, endings: tuple[str, ...]) -> Iterator[str]:
    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(endings) and not name.startswith("."):
                yield os.path.join(here, name)


def _of_file(file: str) -> Iterator[Given]:
    if not file.lower().endswith(ARRAY_EXTENSION):
        yield Given(file, Path(file))
        return
    array = array_in(file)
    if isinstance(array, BadSample):
        yield Given(file, array)
        return
    yield from _of_array(array, file)


def array_in(file: str) -> NDArray[Any] | BadSample:
    """What a `.npy` file holds, or why nothing can be read."""
    try:
        # Mapped, so that a size which the file does not have is refused before it is read.
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy has many words for damage, not all of them its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return BadSample(f"no array can be read: {reason}", kind="unreadable", where=file)
    if not isinstance(found, np.ndarray):
        return BadSample("an archive of arrays, not an array", kind="unreadable", where=file)
    return found


def _of_array(array: NDArray[Any], name: str) -> Iterator[Given]:
    """The samples in an array."""
    ready = array.dtype.kind == "f"
    several = array.ndim == 4
    if not array.size or array.ndim not in ((3, 4) if ready else (2, 3, 4)):
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
        todo = "Give bytes, of one channel or three."
        return Given(name, BadSample(what, kind="value", where=name, todo=todo))
    return Given(name, pixels)
