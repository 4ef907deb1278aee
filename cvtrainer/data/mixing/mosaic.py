"""Mosaic: four pictures around a random point, with everything that is marked in them.

It works before tensors are made. Each picture is scaled until it covers its tile and cut at a
random place; boxes that become too small go, with their labels and masks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import Sample
from cvtrainer.data.transforms.arguments import chance, size_of, within
from cvtrainer.data.transforms.frame import crop, resize
from cvtrainer.data.transforms.pixels_opencv import OpenCvPixels
from cvtrainer.data.transforms.scene import LABELS_OF_BOXES, Array, Scene, SceneFields


class Tile(NamedTuple):
    """Where one of the four pictures stands."""

    top: int
    left: int
    height: int
    width: int

    def on(self, canvas: Array) -> Array:
        """That part of a canvas whose last axes are rows and columns."""
        return canvas[..., self.top : self.top + self.height, self.left : self.left + self.width]


class Mosaic:
    """Four pictures in one of height x width; they meet at a point drawn from `centre`.

    `min_side` is the shorter side in pixels below which a box is dropped.
    """

    place: ClassVar[Literal["samples"]] = "samples"
    thread_safe: ClassVar[bool] = True

    def __init__(
        self,
        *,
        height: int | None = None,
        width: int | None = None,
        size: int | Sequence[int] | None = None,
        centre: Sequence[float] = (0.3, 0.7),
        min_side: float = 4.0,
        p: float = 1.0,
    ) -> None:
        self.size = size_of("Mosaic", height, width, size)
        if min(self.size) < 2:
            raise UserError(f"Mosaic: size is {self.size}", todo="Use 2 pixels or more.")
        self.centre = within("Mosaic", "centre", centre, low=0.0, high=1.0)
        self.min_side = min_side
        self.p = chance("Mosaic", p)
        self._pixels = OpenCvPixels()

    def partners(self, rng: np.random.Generator, own: int, size: int) -> tuple[int, ...]:
        """Three places, others where the batch has others; none with 1 - p."""
        mixed = rng.random() < self.p
        others = rng.integers(0, max(1, size - 1), 3)
        if not mixed:
            return ()
        return tuple(int(o + (size > 1 and o >= own)) for o in others)

    def mix(self, sample: Sample, partners: Sequence[Sample], rng: np.random.Generator) -> Sample:
        """The four of them."""
        if not partners:
            return sample
        height, width = self.size
        shares = rng.uniform(*self.centre, size=2)
        y = min(height - 1, max(1, round(shares[0] * height)))
        x = min(width - 1, max(1, round(shares[1] * width)))
        tiles = (
            Tile(0, 0, y, x),
            Tile(0, x, y, width - x),
            Tile(y, 0, height - y, x),
            Tile(y, x, height - y, width - x),
        )
        parts = [
            self._part(one, tile, rng) for one, tile in zip((sample, *partners), tiles, strict=True)
        ]
        return self._joined(sample, parts, tiles)

    def _part(self, sample: Sample, tile: Tile, rng: np.random.Generator) -> Sample:
        """The sample as its tile shows it, coordinates in those of the mosaic."""
        fields = SceneFields(sample)
        scene = fields.scene()
        factor = max(tile.height / scene.height, tile.width / scene.width)
        size = (
            max(tile.height, math.ceil(scene.height * factor - 1e-6)),
            max(tile.width, math.ceil(scene.width * factor - 1e-6)),
        )
        scene = resize(scene, size, self._pixels, "bilinear", None)
        top = int(rng.integers(0, size[0] - tile.height + 1))
        left = int(rng.integers(0, size[1] - tile.width + 1))
        scene = crop(scene, top, left, tile.height, tile.width)
        return fields.write(_shifted(scene.without_small_boxes(side=self.min_side), tile))

    def _joined(self, own: Sample, parts: list[Sample], tiles: Sequence[Tile]) -> Sample:
        out: Sample = {}
        for name, value in own.items():
            values = [part.get(name) for part in parts]
            if name == "meta":
                out[name] = value
            elif isinstance(value, Mapping):
                inner = [part[name] for part in parts]
                out[name] = {n: self._field(n, [i.get(n) for i in inner], tiles) for n in value}
            else:
                out[name] = self._field(name, values, tiles)
        return out

    def _field(self, name: str, values: list[Any], tiles: Sequence[Tile]) -> Any:
        if any(value is None for value in values):
            raise UserError(f"Mosaic: not every sample has field {name}")
        if name in ("x", "image", "mask"):
            return self._canvas(name, [np.asarray(value) for value in values], tiles)
        if name == "masks":
            return self._stack([np.asarray(value) for value in values], tiles)
        if name in ("boxes", "keypoints", *LABELS_OF_BOXES) or name.startswith("box_"):
            if all(isinstance(value, list | tuple) for value in values):
                return [one for value in values for one in value]
            return np.concatenate([np.asarray(value) for value in values])
        raise UserError(
            f"Mosaic cannot join field {name} of four samples",
            todo="Use it with boxes, masks or keypoints only.",
        )

    def _canvas(self, name: str, parts: list[Array], tiles: Sequence[Tile]) -> Array:
        first = parts[0]
        if any(p.shape[2:] != first.shape[2:] or p.dtype != first.dtype for p in parts):
            raise UserError(f"Mosaic: field {name} has other channels or another number type")
        canvas = np.empty((*self.size, *first.shape[2:]), dtype=first.dtype)
        for part, (top, left, height, width) in zip(parts, tiles, strict=True):
            canvas[top : top + height, left : left + width] = part
        return canvas

    def _stack(self, parts: list[Array], tiles: Sequence[Tile]) -> Array:
        total = sum(len(part) for part in parts)
        canvas = np.zeros((total, *self.size), dtype=parts[0].dtype)
        first = 0
        for part, tile in zip(parts, tiles, strict=True):
            if len(part):
                tile.on(canvas[first : first + len(part)])[...] = part
            first += len(part)
        return canvas


def _shifted(scene: Scene, tile: Tile) -> Scene:
    boxes, points = scene.boxes, scene.keypoints
    offset = np.array([tile.left, tile.top], dtype=np.float32)
    if boxes is not None:
        boxes = boxes + np.tile(offset, 2)
    if points is not None:
        points = points.copy()
        if points.shape[1] == 2:
            inside = (points >= 0) & (points <= (tile.width, tile.height))
            points = points[inside.all(axis=1)]
        points[:, :2] += offset
    return replace(scene, boxes=boxes, keypoints=points)
