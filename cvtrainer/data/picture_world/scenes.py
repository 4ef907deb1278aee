"""One picture of the world: ground, clutter, small shapes and the main shape, with its labels.

Everything is drawn from one generator per picture. Shapes are drawn at four times the size and
averaged down, so edges are smooth and a pixel belongs to a shape when half of it does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cvtrainer.data.picture_world.shapes import CLASSES, Outline, outline

Pixels = NDArray[np.uint8]
Field = NDArray[np.float64]

_FINE = 4
_SMALL_AREA = (0.016, 0.028)
_LEAST_CONTRAST = 70.0
_LUMA = np.array([0.299, 0.587, 0.114])
_TRIES = 30


@dataclass(frozen=True)
class Look:
    """How hard a picture is to read; the areas are shares of the whole picture."""

    main_area: tuple[float, float] = (0.14, 0.26)
    turn: tuple[float, float] = (0.0, 2 * math.pi)
    most_small: int = 2
    texture: tuple[float, float] = (6.0, 18.0)
    scratched: bool = True


LIVELY = Look()
"""Shapes turned any way, small ones beside them, lines and specks: the picture world's own."""

CALM = Look(
    main_area=(0.2, 0.24), turn=(-0.5, 0.5), most_small=0, texture=(0.0, 12.0), scratched=False
)
"""One large shape, turned by up to 29 degrees: a thousand pictures are enough to learn it."""


@dataclass(frozen=True)
class Picture:
    """A drawn picture. The class is that of the largest shape; mask 0 is ground, k+1 class k.

    `marks` are the largest shape's marked places, x and y, where it has some.
    """

    pixels: Pixels
    class_id: int
    boxes: list[list[int]]
    box_labels: list[int]
    mask: Pixels
    marks: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True)
class _Shape:
    label: int
    cover: Field
    box: list[int]
    marks: list[list[float]]


def draw_picture(
    class_id: int,
    rng: np.random.Generator,
    *,
    size: int = 64,
    shapes: Sequence[str] = CLASSES,
    look: Look = LIVELY,
) -> Picture:
    """A picture whose main shape is `shapes[class_id]`, beside up to `look.most_small` others."""
    ground_color, shape_colors = _colors(rng, 1 + look.most_small)
    canvas = _ground(rng, size, ground_color, look.texture)
    if look.scratched:
        _scratch(rng, canvas)
    main = _place(rng, size, class_id, shapes[class_id], look.main_area, look.turn, [])
    assert main is not None, "an empty picture has room for its main shape"
    placed = [main]
    for _ in range(int(rng.integers(0, look.most_small + 1))):
        label = int(rng.integers(0, len(shapes)))
        small = _place(rng, size, label, shapes[label], _SMALL_AREA, look.turn, placed)
        if small is not None:
            placed.append(small)
    mask = np.zeros((size, size), dtype=np.uint8)
    for shape, color in zip(placed, shape_colors, strict=False):
        shade = color + 14.0 * _slope(rng, size)[..., None]
        canvas += shape.cover[..., None] * (shade - canvas)
        mask[shape.cover >= 0.5] = shape.label + 1
    canvas += rng.normal(0.0, rng.uniform(1.0, 5.0), canvas.shape)
    return Picture(
        np.clip(np.rint(canvas), 0, 255).astype(np.uint8),
        class_id,
        [shape.box for shape in placed],
        [shape.label for shape in placed],
        mask,
        main.marks,
    )


def _place(
    rng: np.random.Generator,
    size: int,
    label: int,
    name: str,
    area: tuple[float, float],
    turn: tuple[float, float],
    others: Sequence[_Shape],
) -> _Shape | None:
    """That shape somewhere whole inside the picture and clear of the others; None if crowded."""
    plain = outline(name)
    reach = max(float(np.hypot(p[:, 0], p[:, 1]).max()) for p in plain.filled)
    for _ in range(_TRIES):
        extent = rng.uniform(*area) * size * size
        radius = min(reach * math.sqrt(extent), size / 2.0 - 1.0)
        extent = (radius / reach) ** 2
        x, y = rng.uniform(radius + 0.5, size - radius - 0.5, size=2)
        there = plain.placed((x, y), extent, rng.uniform(*turn))
        cover = _cover(there, size)
        inside = cover >= 0.5
        if any(bool((inside & _grown(other)).any()) for other in others) or not inside.any():
            continue
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        box = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
        return _Shape(label, cover, box, there.marks.tolist())
    return None


def _grown(shape: _Shape) -> NDArray[np.bool_]:
    """The shape's box with a pixel around it: room for nobody else."""
    x1, y1, x2, y2 = shape.box
    taken = np.zeros(shape.cover.shape, dtype=bool)
    taken[max(0, y1 - 1) : y2 + 1, max(0, x1 - 1) : x2 + 1] = True
    return taken


def _cover(shape: Outline, size: int) -> Field:
    """How much of each pixel the shape covers, 0 to 1."""
    fine = Image.new("L", (size * _FINE, size * _FINE), 0)
    pen = ImageDraw.Draw(fine)
    for polygons, ink in ((shape.filled, 255), (shape.cut, 0)):
        for points in polygons:
            pen.polygon([(float(x) * _FINE, float(y) * _FINE) for x, y in points], fill=ink)
    return np.asarray(fine.reduce(_FINE), dtype=np.float64) / 255.0


def _colors(rng: np.random.Generator, count: int) -> tuple[Field, list[Field]]:
    """A ground colour and shape colours that stand out from it; none depends on a class."""
    ground = rng.uniform(30.0, 225.0, size=3)
    colors: list[Field] = []
    while len(colors) < count:
        color = rng.uniform(5.0, 250.0, size=3)
        if abs(float((color - ground) @ _LUMA)) >= _LEAST_CONTRAST:
            colors.append(color)
    return ground, colors


def _ground(
    rng: np.random.Generator, size: int, color: Field, strength: tuple[float, float]
) -> Field:
    """A textured ground around that colour: stripes, checks, clouds or a slope."""
    kind = int(rng.integers(0, 4))
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    angle, period = rng.uniform(0, math.pi), rng.uniform(0.08, 0.3) * size
    along = (x * math.cos(angle) + y * math.sin(angle)) * (2 * math.pi / period)
    across = (y * math.cos(angle) - x * math.sin(angle)) * (2 * math.pi / period)
    phase = rng.uniform(0, 2 * math.pi)
    if kind == 0:
        texture = np.sin(along + phase)
    elif kind == 1:
        texture = np.sign(np.sin(along + phase) * np.sin(across))
    elif kind == 2:
        texture = _clouds(rng, size)
    else:
        texture = _slope(rng, size)
    tint = rng.uniform(0.5, 1.0, size=3)
    canvas: Field = color + rng.uniform(*strength) * texture[..., None] * tint
    return canvas


def _clouds(rng: np.random.Generator, size: int) -> Field:
    """Smooth random spots between -1 and 1."""
    coarse = rng.uniform(0.0, 255.0, size=(6, 6)).astype(np.uint8)
    smooth = Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(np.asarray(smooth, dtype=np.float64) / 127.5 - 1.0, dtype=np.float64)


def _slope(rng: np.random.Generator, size: int) -> Field:
    """A plane from -1 to 1 in a random direction."""
    angle = rng.uniform(0, 2 * math.pi)
    line = np.linspace(-1.0, 1.0, size)
    return np.asarray(
        (line[None, :] * math.cos(angle) + line[:, None] * math.sin(angle)) / math.sqrt(2.0),
        dtype=np.float64,
    )


def _scratch(rng: np.random.Generator, canvas: Field) -> None:
    """Thin lines and specks that are no shape of any class."""
    size = canvas.shape[0]
    layer = Image.new("L", (size, size), 0)
    pen = ImageDraw.Draw(layer)
    for _ in range(int(rng.integers(1, 5))):
        x1, y1, x2, y2 = (float(v) for v in rng.uniform(0, size, size=4))
        pen.line([(x1, y1), (x2, y2)], fill=255, width=1)
    for _ in range(int(rng.integers(3, 10))):
        x, y = (float(v) for v in rng.uniform(0, size, size=2))
        pen.point([(x, y)], fill=255)
    shift = rng.uniform(18.0, 34.0) * (1.0 if rng.random() < 0.5 else -1.0)
    canvas += (np.asarray(layer) > 0)[..., None] * shift
