"""The way back from a network's input to the picture as it is in its file.

A grid of points goes through the transforms beside the picture; where it arrives tells the affine
map, whatever the transforms are called. Boxes, points and maps are carried back by its inverse.
Transforms that bend the picture, or leave points where they were, have no way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvtrainer.data.sample import Sample
from cvtrainer.pictures.way_back import BORDER, UNSEEN

_FIELD = "keypoints"
_SHARES = np.array([(x, y) for y in (0.0, 0.5, 1.0) for x in (0.0, 0.5, 1.0)])
_BENT = 0.002
"""Points that miss an affine map by more than that share of the longer side."""


@dataclass(frozen=True)
class WayBack:
    """`matrix` (2x3) takes places of the input to places of the picture of that size."""

    matrix: NDArray[np.float64]
    height: int
    width: int

    def of_resized(self, size: tuple[int, int], input_size: tuple[int, int]) -> WayBack:
        """The same of a picture that was brought from one (height, width) to another last."""
        if size == input_size:
            return self
        matrix = self.matrix.copy()
        matrix[:, 0] *= size[1] / input_size[1]
        matrix[:, 1] *= size[0] / input_size[0]
        return WayBack(matrix, self.height, self.width)

    def points(self, points: Tensor) -> Tensor:
        """Points `[..., 2 or more]`; what stands behind x and y stays."""
        matrix = torch.from_numpy(self.matrix)
        moved = points[..., :2].double() @ matrix[:, :2].T + matrix[:, 2]
        return torch.cat((moved.to(points.dtype), points[..., 2:]), dim=-1)

    def boxes(self, boxes: Tensor) -> Tensor:
        """Boxes `[..., 4]` around their moved corners, within the picture."""
        x1, y1, x2, y2 = boxes.unbind(-1)
        corners = torch.stack(
            [torch.stack(pair, -1) for pair in ((x1, y1), (x2, y1), (x1, y2), (x2, y2))], -2
        )
        moved = self.points(corners)
        border = moved.new_tensor([self.width, self.height])
        low = moved.amin(-2).clamp(min=0).minimum(border)
        high = moved.amax(-2).clamp(min=0).minimum(border)
        return torch.cat((low, high), dim=-1)

    def maps(self, maps: Tensor, input_size: tuple[int, int]) -> Tensor:
        """Maps `[..., h, w]` of an input of that size, one value for each pixel of the picture."""
        forward = np.linalg.inv(np.vstack([self.matrix, [0.0, 0.0, 1.0]]))[:2]
        y, x = np.mgrid[: self.height, : self.width] + 0.5
        scale = np.array([maps.shape[-1] / input_size[1], maps.shape[-2] / input_size[0]])
        places = (np.stack([x, y], -1) @ forward[:, :2].T + forward[:, 2]) * scale
        cells = np.floor(places + BORDER).astype(np.int64)
        column, row = (torch.from_numpy(cells[..., k]) for k in (0, 1))
        inside = (row >= 0) & (row < maps.shape[-2]) & (column >= 0) & (column < maps.shape[-1])
        found = maps[
            ..., row.clamp(0, maps.shape[-2] - 1), column.clamp(0, maps.shape[-1] - 1)
        ].clone()
        found[..., ~inside] = 0 if found.dtype == torch.bool else UNSEEN
        return found


def marked(record: Mapping[str, Any], height: int, width: int) -> Sample:
    """The record of a picture of that size with the points that will tell the way back."""
    points = np.concatenate([_SHARES * [width, height], np.full((len(_SHARES), 1), 2.0)], axis=1)
    return {**record, _FIELD: points.astype(np.float32)}


def unmarked(sample: Sample, image: str, height: int, width: int) -> tuple[Sample, WayBack | str]:
    """The transformed sample without the points; its way back, or why there is none."""
    rest = {name: value for name, value in sample.items() if name != _FIELD}
    if _FIELD not in sample:
        return rest, "the transforms drop keypoints"
    return rest, _found(
        np.asarray(sample[_FIELD], dtype=np.float64)[:, :2],
        np.asarray(rest[image]).shape[:2],
        (height, width),
    )


def _found(
    arrived: NDArray[np.float64], size: tuple[int, ...], before: tuple[int, int]
) -> WayBack | str:
    height, width = before
    began = _SHARES * [width, height]
    if arrived.shape != began.shape:
        return "the transforms drop keypoints"
    if size != before and np.allclose(arrived, began, atol=1e-3):
        return "a transform changes the picture's size and leaves keypoints where they were"
    rows = np.concatenate([began, np.ones((len(began), 1))], axis=1)
    there = np.linalg.lstsq(rows, arrived, rcond=None)[0].T
    if np.abs(rows @ there.T - arrived).max() > max(_BENT * max(size), 0.01):
        return "a transform bends the picture, which no affine map undoes"
    if abs(np.linalg.det(there[:, :2])) < 1e-9:
        return "a transform leaves nothing of the picture"
    return WayBack(np.linalg.inv(np.vstack([there, [0.0, 0.0, 1.0]]))[:2], height, width)
