"""What somebody wants predictions of, one after the other: files, folders, patterns, arrays.

A picture file stays encoded until its turn. Bytes in an array are a picture; numbers of other
kinds are what the network takes, ready made. An array with one dimension more holds several. What
was trained on texts or tables takes texts, rows and files of them; a mapping is a whole sample.
"""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.datasets.reading.labelled_files import files_below
from cvtrainer.data.decode import IMAGE_EXTENSIONS, to_rgb
from cvtrainer.data.decode.sound import SOUND_EXTENSIONS
from cvtrainer.data.encoded import Encoded
from cvtrainer.data.sample import BadSample, shape_text
from cvtrainer.jobs.prediction.rows import (
    TABLE_EXTENSIONS,
    Columns,
    table_rows,
    text_lines,
    whole_sample,
)

TENSOR_EXTENSIONS = (".npy", ".npz", ".pt", ".pth")
_KNOWN = (*IMAGE_EXTENSIONS, *SOUND_EXTENSIONS, *TENSOR_EXTENSIONS)
_BRIGHTEST = 255
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Input:
    """One thing to predict. `value` is `Encoded`, a picture (HWC bytes), a text or other numbers as
    the data set would have them, or (`ready`) a tensor for the network; or why there is none.
    `more` are the other fields that the network takes."""

    name: str
    value: Any
    ready: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """What the run's network was trained on: pictures, arrays of so many dimensions, texts, or the
    `columns` of a table; and the name of that field."""

    pictures: bool = True
    dims: int | None = None
    texts: bool = False
    columns: Columns | None = None
    field: str = "x"


def inputs_of(given: Any, taken: Taken) -> Iterator[Input]:
    """Everything that is meant, in the order of what was given."""
    if isinstance(given, list | tuple):
        for number, one in enumerate(given):
            yield from _of_one(one, f"[{number}]", taken)
    else:
        yield from _of_one(given, "input", taken)


def _of_one(given: Any, name: str, taken: Taken) -> Iterator[Input]:
    if isinstance(given, Mapping):
        yield _of_mapping(given, name, taken)
    elif taken.texts and isinstance(given, str) and not _names_files(given):
        yield Input(name, given)
    elif isinstance(given, str | Path):
        for file in _files(str(given)):
            yield from _of_file(file, taken)
    elif isinstance(given, Image.Image):
        yield Input(name, to_rgb(given))
    elif isinstance(given, np.ndarray | Tensor):
        yield from _of_array(given, name, taken)
    else:
        raise UserError(
            f"nothing can be predicted of a {type(given).__name__}",
            todo="Give a path, a PIL image, an array, a tensor, a mapping, or a list of these.",
        )


def _of_mapping(given: Mapping[str, Any], name: str, taken: Taken) -> Input:
    """A row of the table that was trained on, or all fields of a sample."""
    if taken.columns is not None and taken.field not in given:
        try:
            fields = taken.columns.fields(given, name, taken.field)
        except BadSample as error:
            return Input(name, error)
    else:
        fields = whole_sample(given, taken.field)
    return Input(name, fields.pop(taken.field), more=fields)


def _names_files(given: str) -> bool:
    """Whether there is something of that name, and it is not a text to be read."""
    try:
        return Path(given).exists() or (glob.has_magic(given) and bool(glob.glob(given)))
    except OSError:  # too long for a name
        return False


def _files(given: str) -> Iterator[str]:
    path = Path(given)
    if path.is_dir():
        found = list(files_below(path, _KNOWN))
        if not found:
            raise UserError("no picture, sound or tensor file is in this folder", where=given)
        yield from (str(path / name) for name in found)
    elif path.exists() or not glob.has_magic(given):
        if not path.exists():
            raise UserError("no such file or folder", where=given)
        yield given
    else:
        matched = sorted(glob.glob(given, recursive=True))
        if not matched:
            raise UserError("no file fits this pattern", where=given)
        for name in matched:
            if not Path(name).is_dir():
                yield name


def _of_file(file: str, taken: Taken) -> Iterator[Input]:
    ending = Path(file).suffix.lower()
    if taken.columns is not None and ending in TABLE_EXTENSIONS:
        for number, row in enumerate(table_rows(file)):
            yield _of_mapping(row, f"{file}[{number}]", taken)
        return
    if taken.texts and ending not in TENSOR_EXTENSIONS:
        yield from _of_lines(file)
        return
    if ending not in TENSOR_EXTENSIONS:
        kind: Any = "sound" if ending in SOUND_EXTENSIONS else "image"
        yield Input(file, Encoded(file, kind))
        return
    try:
        arrays = _arrays(file, ending)
    except BadSample as error:
        yield Input(file, error)
        return
    for name, array in arrays.items():
        try:
            yield from _of_array(array, name, taken)
        except BadSample as error:
            yield Input(name, error)


def _of_lines(file: str) -> Iterator[Input]:
    """The lines of a text file, each for itself."""
    try:
        lines = list(text_lines(file))
    except BadSample as error:
        yield Input(file, error)
        return
    for number, line in lines:
        yield Input(f"{file}:{number}", line)


def _arrays(file: str, ending: str) -> Mapping[str, NDArray[Any] | Tensor]:
    """The arrays of a tensor file by name; nothing in it is ever run."""
    try:
        if ending == ".npy":
            return {file: np.load(file, allow_pickle=False)}
        if ending == ".npz":
            with np.load(file, allow_pickle=False) as archive:
                return {f"{file}[{name}]": archive[name] for name in archive.files}
        held = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise BadSample(
            f"no tensors can be read: {reason}", kind="unreadable", where=file
        ) from None
    if isinstance(held, Tensor):
        return {file: held}
    pairs = held.items() if isinstance(held, Mapping) else enumerate(held)
    found = {f"{file}[{name}]": one for name, one in pairs if isinstance(one, Tensor)}
    if not found:
        raise BadSample("there is no tensor in it", kind="unreadable", where=file)
    return found


def _of_array(array: NDArray[Any] | Tensor, name: str, taken: Taken) -> Iterator[Input]:
    """The samples in an array."""
    if isinstance(array, Tensor):
        array = array.detach().cpu()
    torches = isinstance(array, Tensor)
    floats = array.is_floating_point() if isinstance(array, Tensor) else array.dtype.kind == "f"
    if not taken.pictures:
        several = taken.dims is not None and array.ndim == taken.dims + 1
        for place, one in _places(array, name, several):
            yield Input(place, one.numpy() if isinstance(one, Tensor) else one)
    elif floats:
        if array.ndim not in (3, 4):
            raise _no_picture(array, name, "[C, H, W] or [N, C, H, W]")
        for place, one in _places(array, name, array.ndim == 4):
            yield Input(place, torch.as_tensor(one).float(), ready=True)
    else:
        if array.ndim not in (2, 3, 4):
            raise _no_picture(array, name, "HW, HWC or NHWC bytes")
        for place, one in _places(_pixels(np.asarray(array), name), name, array.ndim == 4):
            yield Input(place, _channels_last(one, first=torches))


def _pixels(array: NDArray[Any], name: str) -> NDArray[Any]:
    """As files have them: bytes, or 16 bits. Other whole numbers mean bytes, if they can."""
    if array.dtype in (np.uint8, np.uint16) and array.size:
        return array
    if array.dtype.kind not in "biu" or not array.size:
        raise _no_picture(array, name, "HW, HWC or NHWC bytes")
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * 255
    low, high = int(array.min()), int(array.max())
    if low < 0 or high > _BRIGHTEST:
        raise BadSample(
            f"its numbers go from {low} to {high}, those of a picture from 0 to {_BRIGHTEST}",
            kind="value",
            where=name,
            todo="Give bytes, uint16 for 16 bits, or the floats that the network takes.",
        )
    return array.astype(np.uint8)


def _places(array: Any, name: str, several: bool) -> Iterator[tuple[str, Any]]:
    if not several:
        yield name, array
        return
    for number in range(len(array)):
        yield f"{name}[{number}]", array[number]


def _channels_last(pixels: NDArray[Any], *, first: bool) -> NDArray[Any]:
    """Height, width, channels; tensors have theirs in front unless that cannot be."""
    if pixels.ndim == 2:
        return pixels[:, :, None]
    front, back = pixels.shape[0] in _CHANNELS, pixels.shape[2] in _CHANNELS
    if (first and front) or not back:
        pixels = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    return pixels


def _no_picture(array: Any, name: str, form: str) -> BadSample:
    what = f"{shape_text(array)} {array.dtype} is no picture"
    return BadSample(what, kind="value", where=name, todo=f"Give {form}.")
