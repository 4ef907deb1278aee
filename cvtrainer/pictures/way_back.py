"""From places in a network's input back to those in the picture's file, by the input spec.

The steps of a spec only scale and move, so each axis has one factor and one offset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.input_spec import CenterCrop, InputSpec, Pad, PadTo, Resize

Array = NDArray[Any]
UNSEEN = -1
"""What a map holds where the network has not seen the picture."""
BORDER = 1e-4
"""Of a cell: a pixel between two cells is the later one's, however its place was rounded."""


@dataclass(frozen=True)
class WayBack:
    """x of the input is x of the file times `scale[0]` plus `offset[0]`; y likewise with 1."""

    scale: tuple[float, float]
    offset: tuple[float, float]
    height: int
    width: int
    input_height: int
    input_width: int

    @classmethod
    def of(cls, spec: InputSpec, height: int, width: int) -> WayBack:
        """That of a picture of this size."""
        now = np.array([width, height], float)
        scale, offset = np.ones(2), np.zeros(2)
        for step in spec.steps:
            tall, wide = step.result(int(now[1]), int(now[0]))
            after = np.array([wide, tall], float)
            if isinstance(step, Resize):
                scale, offset = scale * after / now, offset * after / now
            elif isinstance(step, Pad):
                offset = offset + step.sides[:2]
            elif isinstance(step, PadTo):
                offset = offset + (after - now) // 2
            elif isinstance(step, CenterCrop):
                border = np.maximum(after - now, 0) // 2
                offset = offset + border - np.maximum(now - after, 0) // 2
            now = after
        x, y = (float(one) for one in offset)
        wider, taller = (float(one) for one in scale)
        return cls((wider, taller), (x, y), height, width, int(now[1]), int(now[0]))

    def carried(self, outputs: Mapping[str, Array], places: Mapping[str, str]) -> dict[str, Array]:
        """Those outputs that stand in the picture, as what `places` says they are."""
        move = {"boxes": self.boxes, "points": self.points}
        return {
            name: move.get(kind, self.maps)(outputs[name])
            for name, kind in places.items()
            if name in outputs
        }

    def points(self, points: Array) -> Array:
        """Points `[..., 2 or more]`; what stands behind x and y stays."""
        moved = (points[..., :2] - np.asarray(self.offset)) / np.asarray(self.scale)
        return np.concatenate((moved.astype(points.dtype), points[..., 2:]), axis=-1)

    def boxes(self, boxes: Array) -> Array:
        """Boxes `[..., 4]`, within the picture."""
        corners = self.points(boxes.reshape(*boxes.shape[:-1], 2, 2))
        border = np.asarray([self.width, self.height], corners.dtype)
        return corners.clip(0, border).reshape(boxes.shape)

    def maps(self, maps: Array) -> Array:
        """Maps `[..., h, w]` of the input, one value for each pixel of the picture."""
        row, seen_rows = self._places(1, self.height, maps.shape[-2], self.input_height)
        column, seen_columns = self._places(0, self.width, maps.shape[-1], self.input_width)
        found = maps[..., row[:, None], column]
        found[..., ~(seen_rows[:, None] & seen_columns)] = 0 if maps.dtype == bool else UNSEEN
        return found

    def _places(self, axis: int, length: int, cells: int, whole: int) -> tuple[Array, Array]:
        """The cell of a map for each pixel along an axis, and whether there is one."""
        at = ((np.arange(length) + 0.5) * self.scale[axis] + self.offset[axis]) * (cells / whole)
        cell = np.floor(at + BORDER).astype(np.int64)
        return cell.clip(0, cells - 1), (cell >= 0) & (cell < cells)
