"""A picture with what a network says of it: boxes, regions, points, and a line of words above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cvtrainer.pictures.drawing.lettering import Lettering
from cvtrainer.pictures.drawing.objects import draw_boxes, draw_keypoints, lay_mask, lay_masks

_LEGIBLE = 320
"""Smaller pictures are enlarged by a whole number, so that words have room."""
_GROUND = (28, 28, 30)
_INK = (225, 225, 228)


@dataclass(frozen=True)
class Marks:
    """What is drawn, in the pixels of the picture; `tags` stand at the boxes."""

    boxes: Sequence[Sequence[float]] = ()
    labels: Sequence[int] = ()
    tags: Sequence[str] = ()
    points: Sequence[Sequence[float]] = ()
    mask: Any = None
    masks: Any = None
    caption: Sequence[str] = field(default_factory=tuple)


def answered(pixels: Any, marks: Marks, lettering: Lettering) -> Image.Image:
    """The picture (HWC bytes) with these marks, the caption above it."""
    pixels = np.asarray(pixels)
    pixels = np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[:, :, :3]
    height, width = pixels.shape[:2]
    share = max(1, -(-_LEGIBLE // max(height, width)))
    shown = Image.fromarray(np.ascontiguousarray(pixels))
    if share > 1:
        shown = shown.resize((width * share, height * share), Image.Resampling.NEAREST)
    if marks.mask is not None:
        shown = lay_mask(shown, np.asarray(marks.mask))
    if marks.masks is not None and len(marks.masks):
        shown = lay_masks(shown, np.asarray(marks.masks))
    draw = ImageDraw.Draw(shown)
    if len(marks.boxes):
        draw_boxes(draw, marks.boxes, list(marks.labels), share, lettering, marks.tags)
    if len(marks.points):
        draw_keypoints(draw, marks.points, share, lettering)
    return _captioned(shown, marks.caption, lettering)


def _captioned(shown: Image.Image, caption: Sequence[str], lettering: Lettering) -> Image.Image:
    lines = [line for text in caption for line in lettering.lines(text, shown.width - 8)]
    if not lines:
        return shown
    step = lettering.size + 5
    top = step * len(lines) + 4
    paper = Image.new("RGB", (shown.width, shown.height + top), _GROUND)
    paper.paste(shown, (0, top))
    draw = ImageDraw.Draw(paper)
    for number, line in enumerate(lines):
        draw.text((4, 2 + number * step), line, font=lettering.font, fill=_INK)
    return paper
