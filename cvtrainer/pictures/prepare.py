"""A decoded picture as the numbers that a network takes, by its input spec."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.core.input_spec import CenterCrop, Fill, Grey, InputSpec, Pad, PadTo, Resize, Size
from cvtrainer.pictures.resize import resized

Pixels = NDArray[Any]


def prepared(picture: Pixels, spec: InputSpec) -> Pixels:
    """Channels x height x width of one upright picture (height x width x channels, bytes)."""
    pixels = stepped(with_channels(picture, spec.channels), spec)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    return normalised(planes, spec) if spec.scaled else planes


def handed(picture: Pixels, spec: InputSpec, takes: str) -> Pixels:
    """The same for a graph that does the rest itself: what it `takes` are those numbers (`float`),
    bytes after the spec's steps (`uint8`), or the picture (`picture`), height x width x channels.
    """
    if takes == "float":
        return prepared(picture, spec)
    pixels = with_channels(picture, spec.channels)
    if takes == "picture":
        _refuse_too_small(pixels, spec)
        return np.ascontiguousarray(pixels)
    return np.ascontiguousarray(np.rint(stepped(pixels, spec)).astype(np.uint8))


def stepped(picture: Pixels, spec: InputSpec) -> Pixels:
    """The picture after the spec's steps, still height x width x channels."""
    for step in spec.steps:
        if isinstance(step, Resize):
            picture = resized(picture, step)
        elif isinstance(step, CenterCrop):
            picture = _middle(picture, step)
        elif isinstance(step, Pad):
            left, top, right, bottom = step.sides
            picture = _bordered(picture, (top, left, bottom, right), step.fill)
        elif isinstance(step, PadTo):
            picture = _padded_to(picture, step.size, step.fill)
        elif isinstance(step, Grey):
            picture = _grey(picture)
    return picture


def normalised(planes: Pixels, spec: InputSpec) -> Pixels:
    """(value / 255 - mean) / std, in single precision, as the tensorizer computes it."""
    made = planes.astype(np.float32) / np.float32(255)
    if spec.mean:
        shape = (-1, 1, 1)
        made -= np.asarray(spec.mean, np.float32).reshape(shape)
        made /= np.asarray(spec.std, np.float32).reshape(shape)
    return made


def with_channels(picture: Pixels, channels: int) -> Pixels:
    """Grey for a network that takes one channel, three equal ones for one that takes colours."""
    if picture.ndim == 2:
        picture = picture[:, :, None]
    held = picture.shape[2]
    if held == channels:
        return picture
    if channels == 1 and held == 3:
        return _luma(picture)
    if channels == 3 and held == 1:
        return np.repeat(picture, 3, axis=2)
    raise UserError(f"the picture has {held} channels and the network takes {channels}")


def _grey(picture: Pixels) -> Pixels:
    return picture if picture.shape[2] != 3 else np.repeat(_luma(picture), 3, axis=2)


def _luma(picture: Pixels) -> Pixels:
    """The grey of colours, in whole numbers of 15 bits as OpenCV has it."""
    red, green, blue = (picture[:, :, place].astype(np.int32) for place in range(3))
    grey = (red * 9798 + green * 19235 + blue * 3735 + (1 << 14)) >> 15
    return grey.astype(np.uint8)[:, :, None]


def _refuse_too_small(picture: Pixels, spec: InputSpec) -> None:
    """What the steps outside a graph would refuse."""
    size = picture.shape[:2]
    for step in spec.steps:
        if isinstance(step, CenterCrop) and not step.pad:
            _refuse_without_middle(size, step.size)
        size = step.result(*size)


def _refuse_without_middle(size: Sequence[int], wanted: Size) -> None:
    if wanted[0] > size[0] or wanted[1] > size[1]:
        raise UserError(
            f"a picture of {size[0]}x{size[1]} has no middle of {wanted[0]}x{wanted[1]}"
        )


def _middle(picture: Pixels, step: CenterCrop) -> Pixels:
    height, width = step.size
    if step.pad:
        picture = _padded_to(picture, step.size, step.fill)
    _refuse_without_middle(picture.shape[:2], step.size)
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def _padded_to(picture: Pixels, size: Size, fill: Fill) -> Pixels:
    rows, columns = (max(0, want - have) for want, have in zip(size, picture.shape, strict=False))
    if not rows and not columns:
        return picture
    sides = (rows // 2, columns // 2, rows - rows // 2, columns - columns // 2)
    return _bordered(picture, sides, fill)


def _bordered(picture: Pixels, sides: tuple[int, int, int, int], fill: Fill) -> Pixels:
    top, left, bottom, right = sides
    height, width, channels = picture.shape
    made = np.empty((height + top + bottom, width + left + right, channels), picture.dtype)
    made[...] = fill
    made[top : top + height, left : left + width] = picture
    return made
