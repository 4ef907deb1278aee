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
from cvtrainer.data.sample import Sample, sample_name

Array = NDArray[Any]
Matrix = NDArray[np.float64]

IMAGE_FIELDS = ("x", "image")
LABELS_OF_BOXES = ("labels", "masks")
"""Fields beside `boxes` that hold one entry per box; names that start with `box_` do too."""

_SMALLEST_SIDE = 1.0


@dataclass(frozen=True)
class Scene:
    """One picture (HWC or HW) and everything in its coordinates.

    `kept` holds the original numbers of the boxes that are still in the picture.
    """

    image: Array
    planes: tuple[Array, ...] = ()
    boxes: Array | None = None
    keypoints: Array | None = None
    kept: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def height(self) -> int:
        """Rows of the picture."""
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Columns of the picture."""
        return int(self.image.shape[1])

    def with_image(self, image: Array) -> Scene:
        """The same scene with other pixels of the same size."""
        return replace(self, image=image)

    def moved(self, matrix: Matrix, image: Array, on_plane: Callable[[Array], Array]) -> Scene:
        """The scene after a geometric transform: new pixels, masks by `on_plane`, points by
        `matrix`."""
        planes = tuple(on_plane(plane) for plane in self.planes)
        points = None if self.keypoints is None else move_points(self.keypoints, matrix)
        boxes = None if self.boxes is None else move_boxes(self.boxes, matrix)
        return replace(self, image=image, planes=planes, keypoints=points, boxes=boxes).clipped()

    def clipped(self) -> Scene:
        """Boxes cut at the border, those outside dropped; points outside marked invisible."""
        points, boxes, kept = self.keypoints, self.boxes, self.kept
        if points is not None and points.shape[-1] > 2:
            outside = (points[:, 0] < 0) | (points[:, 0] > self.width)
            outside |= (points[:, 1] < 0) | (points[:, 1] > self.height)
            points = points.copy()
            points[outside, 2] = 0
        if boxes is not None and len(boxes):
            border = np.array([self.width, self.height] * 2, dtype=boxes.dtype)
            boxes = np.clip(boxes, 0, border)
            inside = (boxes[:, 2] - boxes[:, 0] >= _SMALLEST_SIDE) & (
                boxes[:, 3] - boxes[:, 1] >= _SMALLEST_SIDE
            )
            boxes, kept = boxes[inside], kept[inside]
        return replace(self, keypoints=points, boxes=boxes, kept=kept)


def move_points(points: Array, matrix: Matrix) -> Array:
    """Points (n x 2, or more columns that stay) through a 2x3 matrix."""
    out = points.astype(np.float32, copy=True)
    if len(out):
        out[:, :2] = points[:, :2].astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return out


def move_boxes(boxes: Array, matrix: Matrix) -> Array:
    """The upright boxes around the moved corners."""
    if not len(boxes):
        return boxes
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2)
    moved = move_points(corners, matrix).reshape(-1, 4, 2)
    return np.concatenate([moved.min(axis=1), moved.max(axis=1)], axis=1)


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
            if plane.shape[:2] != image.shape[:2]:
                raise UserError(
                    f"the mask is {plane.shape[0]}x{plane.shape[1]}, but the picture "
                    f"{image.shape[0]}x{image.shape[1]}",
                    where=sample_name(self.sample),
                )
        boxes = self._array("boxes", 4)
        kept = np.arange(0 if boxes is None else len(boxes), dtype=np.int64)
        return Scene(image, planes, boxes, self._array("keypoints", 2), kept)

    def write(self, scene: Scene) -> Sample:
        """A copy of the sample with that scene in the old one's place."""
        planes = iter(scene.planes)
        boxes = self._find("boxes")
        count = 0 if boxes is None else len(boxes)
        out = [dict(holder) for holder in self._holders]
        out[0][self.image_name] = scene.image
        for holder in out:
            if "mask" in holder:
                holder["mask"] = next(planes)
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
        if value is None:
            return None
        rows = np.asarray(value, dtype=np.float32)
        return rows if rows.size else rows.reshape(0, columns)

    def _find(self, name: str) -> Any:
        return next((h[name] for h in self._holders if name in h), None)


def _filter_labels(holder: dict[str, Any], kept: Array, count: int) -> None:
    """Drop what belonged to boxes that are gone."""
    for name, value in holder.items():
        if not (name in LABELS_OF_BOXES or name.startswith("box_")) or len(value) != count:
            continue
        if isinstance(value, list | tuple):
            holder[name] = [value[number] for number in kept]
        else:
            holder[name] = value[kept]
