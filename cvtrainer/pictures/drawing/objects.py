"""Boxes, masks and keypoints drawn on a picture that was scaled for the sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cvtrainer.pictures.drawing.colours import colour_of, ink_on
from cvtrainer.pictures.drawing.lettering import Lettering

_STRENGTH = 0.45
_IGNORED = 255
_MOST_TAGS = 24
_GREY = (200, 200, 200)
_HIDDEN = (150, 150, 150)


def draw_boxes(
    draw: ImageDraw.ImageDraw,
    boxes: Any,
    labels: Any,
    share: float,
    lettering: Lettering,
    tags: Sequence[str] = (),
) -> None:
    """Frames in the colour of their class, the class or tag at a corner inside the picture; the
    first box, which is the best of those found, on top."""
    places = np.nan_to_num(np.asarray(boxes, dtype=np.float64).reshape(-1, 4)) * share
    numbers = None if labels is None else np.atleast_1d(np.asarray(labels)).astype(int).tolist()
    for number, (x1, y1, x2, y2) in reversed(list(enumerate(places.tolist()))):
        label = numbers[number] if numbers is not None and number < len(numbers) else None
        colour = colour_of(number if label is None else label)
        left, right, top, bottom = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
        draw.rectangle((left, top, right, bottom), outline=colour, width=2)
        if len(places) > _MOST_TAGS:
            continue
        if number < len(tags):
            _tag(draw, lettering.text(tags[number]), left, top, colour, lettering)
        elif label is not None and lettering.count > 1:
            _tag(draw, lettering.name(label), left, top, colour, lettering)


def _tag(
    draw: ImageDraw.ImageDraw,
    text: str,
    left: float,
    top: float,
    colour: tuple[int, int, int],
    lettering: Lettering,
) -> None:
    height = lettering.size + 3
    y = top - height if top >= height else top
    box = (left, y, left + lettering.width(text) + 4, y + height)
    draw.rectangle(box, fill=colour)
    draw.text((left + 2, y), text, font=lettering.font, fill=ink_on(colour))


def draw_keypoints(
    draw: ImageDraw.ImageDraw, keypoints: Any, share: float, lettering: Lettering
) -> None:
    """Numbered dots; hidden ones are rings, those that are not there are left out."""
    points = np.nan_to_num(np.asarray(keypoints, dtype=np.float64).reshape(-1, 3))
    for number, (x, y, visible) in enumerate(points.tolist()):
        if visible <= 0:
            continue
        x, y = x * share, y * share
        colour = colour_of(number)
        spot = (x - 3, y - 3, x + 3, y + 3)
        if visible >= 2:
            draw.ellipse(spot, fill=colour, outline=(0, 0, 0))
        else:
            draw.ellipse(spot, outline=_HIDDEN, width=1)
        draw.text((x + 4, y - lettering.size / 2), str(number), font=lettering.font, fill=colour)


def lay_mask(shown: Image.Image, mask: Any) -> Image.Image:
    """Every class in its colour over the picture; ignored pixels are grey."""
    numbers = np.asarray(
        Image.fromarray(np.asarray(mask).astype(np.uint8)).resize(
            shown.size, Image.Resampling.NEAREST
        )
    )
    table = np.array([colour_of(k) for k in range(256)], dtype=np.float32)
    table[_IGNORED] = _GREY
    pixels = np.asarray(shown, dtype=np.float32)
    laid = pixels * (1 - _STRENGTH) + table[numbers] * _STRENGTH
    edges = np.zeros(numbers.shape, dtype=bool)
    edges[:, 1:] |= numbers[:, 1:] != numbers[:, :-1]
    edges[1:] |= numbers[1:] != numbers[:-1]
    laid[edges] = 255.0
    return Image.fromarray(np.rint(laid).astype(np.uint8))


def lay_masks(shown: Image.Image, masks: Any) -> Image.Image:
    """Each object in a colour of its own."""
    pixels = np.asarray(shown, dtype=np.float32).copy()
    for number, mask in enumerate(np.asarray(masks).astype(np.uint8)):
        inside = Image.fromarray((mask > 0).astype(np.uint8) * 255)
        where = np.asarray(inside.resize(shown.size, Image.Resampling.NEAREST)) > 0
        colour = np.array(colour_of(number), dtype=np.float32)
        pixels[where] = pixels[where] * (1 - _STRENGTH) + colour * _STRENGTH
        edge = where & ~(
            np.roll(where, 1, 0)
            & np.roll(where, -1, 0)
            & np.roll(where, 1, 1)
            & np.roll(where, -1, 1)
        )
        pixels[edge] = colour
    return Image.fromarray(np.rint(pixels).astype(np.uint8))
