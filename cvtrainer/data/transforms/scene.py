"""What moves together: a picture with its masks, boxes and keypoints.

Coordinates are continuous pixels: 0 is the left edge of the first pixel, the width is the right
edge of the last. So every geometric transform is one 2x3 matrix for all points, whatever a back
end does to the pixels. Boxes that leave the picture go, with their labels; keypoints stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import BadSample, Sample, sample_name

Array = NDArray[Any]
Matrix = NDArray[np.float64]
PointMap = Callable[[Array], Array]
"""From old to new coordinates of n x 2 points, for what no matrix can say."""

IMAGE_FIELDS = ("x", "image")
LABELS_OF_BOXES = ("labels", "masks")
"""Fields beside `boxes` that hold one entry per box; names that start with `box_` do too."""

DECODED_FROM = "decoded_from"
"""In `meta` of a sample whose picture was decoded smaller: its (height, width) in the file."""

_SMALLEST_SIDE = 1.0


def _rim(points: int) -> Array:
    """Places around a unit square, that many per edge."""
    along = np.linspace(0.0, 1.0, points)
    x, y = (part.reshape(-1) for part in np.meshgrid(along, along))
    edge = (x == 0) | (x == 1) | (y == 0) | (y == 1)
    return np.stack([x[edge], y[edge]], axis=1)


_CORNERS, _EDGES = _rim(2), _rim(9)


@dataclass(frozen=True)
class Scene:
    """One picture (HWC or HW) and everything in its coordinates.

    `kept` holds the original numbers of the boxes that are still in the picture. `file_size` is
    the size in the file of a picture that was decoded smaller and has not been resized since.
    """

    image: Array
    planes: tuple[Array, ...] = ()
    boxes: Array | None = None
    keypoints: Array | None = None
    kept: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    file_size: tuple[int, int] | None = None

    @property
    def height(self) -> int:
        """Rows of the picture."""
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Columns of the picture."""
        return int(self.image.shape[1])

    @property
    def full_size(self) -> tuple[int, int]:
        """The (height, width) that draws are made for, however small the picture was decoded."""
        return self.file_size or (self.height, self.width)

    def with_image(self, image: Array) -> Scene:
        """The same scene with other pixels of the same size."""
        return replace(self, image=image)

    def moved(
        self, motion: Matrix | PointMap, image: Array, on_plane: Callable[[Array], Array]
    ) -> Scene:
        """The scene after a geometric transform: new pixels, masks by `on_plane`, points by
        `motion` (2x3, 3x3 or a function)."""
        planes = tuple(on_plane(plane) for plane in self.planes)
        points = None if self.keypoints is None else move_points(self.keypoints, motion)
        boxes = None if self.boxes is None else move_boxes(self.boxes, motion)
        same = image.shape[:2] == self.image.shape[:2]
        size = self.file_size if same else None
        moved = replace(
            self, image=image, planes=planes, keypoints=points, boxes=boxes, file_size=size
        )
        return moved if points is None and boxes is None else moved.clipped()

    def without_small_boxes(self, *, side: float) -> Scene:
        """Only boxes with both sides at least that long."""
        if self.boxes is None or not len(self.boxes):
            return self
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        large = (sides >= side).all(axis=1)
        return replace(self, boxes=self.boxes[large], kept=self.kept[large])

    def clipped(self) -> Scene:
        """Boxes cut at the border, those outside dropped; points outside marked invisible."""
        points, boxes = self.keypoints, self.boxes
        if points is not None and points.shape[-1] > 2:
            outside = (points[:, 0] < 0) | (points[:, 0] > self.width)
            outside |= (points[:, 1] < 0) | (points[:, 1] > self.height)
            points = points.copy()
            points[outside, 2] = 0
        if boxes is not None and len(boxes):
            border = np.array([self.width, self.height] * 2, dtype=boxes.dtype)
            boxes = np.clip(boxes, 0, border)
            return replace(self, keypoints=points, boxes=boxes).without_small_boxes(
                side=_SMALLEST_SIDE
            )
        return replace(self, keypoints=points)


def move_points(points: Array, motion: Matrix | PointMap) -> Array:
    """Points (n x 2, or more columns that stay) through a 2x3 or 3x3 matrix, or a function."""
    out = points.astype(np.float32, copy=True)
    if not len(out):
        return out
    places = points[:, :2].astype(np.float64)
    if callable(motion):
        out[:, :2] = motion(places)
        return out
    moved = places @ motion[:, :2].T + motion[:, 2]
    out[:, :2] = moved if len(motion) == 2 else moved[:, :2] / moved[:, 2:]
    return out


def move_boxes(boxes: Array, motion: Matrix | PointMap) -> Array:
    """The upright boxes around the moved corners; around the moved edges where edges bend."""
    if not len(boxes):
        return boxes
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    shares = _EDGES if callable(motion) else _CORNERS
    around = low + (high - low) * shares
    moved = move_points(around.reshape(-1, 2), motion).reshape(len(boxes), -1, 2)
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)


def scaled_sample(
    sample: Sample, height: int, width: int, new_height: int, new_width: int
) -> Sample:
    """The sample of a picture that was decoded smaller: its boxes and keypoints fit the pixels.

    The picture is in the new size already; masks are not touched. `meta` remembers the size in
    the file until the transforms have drawn for it.
    """
    matrix = np.array([[new_width / width, 0, 0], [0, new_height / height, 0]], dtype=np.float64)
    out = dict(sample)
    holders = [out]
    if isinstance(out.get("target"), Mapping):
        out["target"] = dict(out["target"])
        holders.append(out["target"])
    for holder in holders:
        for name, columns, move in (("boxes", 4, move_boxes), ("keypoints", 2, move_points)):
            if holder.get(name) is not None:
                holder[name] = move(_rows(holder[name], columns), matrix)
    out["meta"] = {**(sample.get("meta") or {}), DECODED_FROM: (height, width)}
    return out


class SceneFields:
    """Where in a sample the parts of its scene are; reads them and writes them back."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.image_name = next((n for n in IMAGE_FIELDS if n in sample), "")
        if not self.image_name:
            raise UserError(
                "the sample has no picture to transform",
                where=sample_name(sample),
                todo="Put it into field x.",
            )
        meta = sample.get("meta")
        self._file_size: tuple[int, int] | None = None
        if isinstance(meta, Mapping) and DECODED_FROM in meta:
            self._file_size = meta[DECODED_FROM]
            sample = {**sample, "meta": {k: v for k, v in meta.items() if k != DECODED_FROM}}
            self.sample = sample
        target = sample.get("target")
        self._holders: list[Mapping[str, Any]] = [sample]
        if isinstance(target, Mapping):
            self._holders.append(target)

    def scene(self) -> Scene:
        """The scene of that sample."""
        image = np.asarray(self.sample[self.image_name])
        if image.ndim not in (2, 3):
            raise UserError(
                f"the picture has {image.ndim} dimensions",
                where=sample_name(self.sample),
                todo="Give height x width x channels.",
            )
        planes = tuple(plane for _, plane in self._mask_planes())
        for plane in planes:
            check_mask_size(plane, image.shape[:2], self.sample)
        boxes = self._array("boxes", 4)
        kept = np.arange(0 if boxes is None else len(boxes), dtype=np.int64)
        return Scene(image, planes, boxes, self._array("keypoints", 2), kept, self._file_size)

    def write(self, scene: Scene) -> Sample:
        """A copy of the sample with that scene in the old one's place."""
        planes = iter(scene.planes)
        boxes = self._find("boxes")
        count = 0 if boxes is None else len(boxes)
        out = [dict(holder) for holder in self._holders]
        out[0][self.image_name] = np.ascontiguousarray(scene.image)
        for holder in out:
            if "mask" in holder:
                holder["mask"] = np.ascontiguousarray(next(planes))
            if "masks" in holder:
                stack = [next(planes) for _ in holder["masks"]]
                holder["masks"] = np.stack(stack) if stack else np.asarray(holder["masks"])
            if "keypoints" in holder:
                holder["keypoints"] = scene.keypoints
            if "boxes" in holder:
                holder["boxes"] = scene.boxes
                if len(scene.kept) < count:
                    _filter_labels(holder, scene.kept, count)
        if len(out) > 1:
            out[0]["target"] = out[1]
        return out[0]

    def _mask_planes(self) -> list[tuple[str, Array]]:
        planes: list[tuple[str, Array]] = []
        for holder in self._holders:
            if "mask" in holder:
                planes.append(("mask", np.asarray(holder["mask"])))
            if "masks" in holder:
                planes += [("masks", np.asarray(plane)) for plane in holder["masks"]]
        return planes

    def _array(self, name: str, columns: int) -> Array | None:
        value = self._find(name)
        return None if value is None else _rows(value, columns)

    def _find(self, name: str) -> Any:
        return next((h[name] for h in self._holders if name in h), None)


def check_mask_size(mask: Array, size: tuple[int, ...], sample: Sample) -> None:
    """A mask of another size than its picture is a bad sample."""
    if mask.shape[:2] != size:
        shape = "x".join(str(n) for n in mask.shape[:2])
        raise BadSample(
            f"the mask is {shape}, but the picture {size[0]}x{size[1]}",
            kind="size",
            where=sample_name(sample),
        )


def _rows(value: Any, columns: int) -> Array:
    rows = np.asarray(value, dtype=np.float32)
    return rows if rows.size or rows.ndim == 2 else rows.reshape(0, columns)


def _filter_labels(holder: dict[str, Any], kept: Array, count: int) -> None:
    """Drop what belonged to boxes that are gone."""
    for name, value in holder.items():
        if not (name in LABELS_OF_BOXES or name.startswith("box_")) or len(value) != count:
            continue
        if isinstance(value, list | tuple):
            holder[name] = [value[number] for number in kept]
        else:
            holder[name] = value[kept]
