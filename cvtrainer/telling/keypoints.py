"""Named places in a picture, found as the highest spots of heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.telling.reading import Array, Arrays, Telling, output_named, shares_of


@dataclass(frozen=True)
class Keypoints(Telling):
    """Heat maps `[N, K, h, w]`, one place of them for `stride` pixels of the input."""

    kind: ClassVar[str] = "keypoints"
    IN_PICTURE: ClassVar[Mapping[str, str]] = {"keypoints": "points"}
    DECODED: ClassVar[tuple[str, ...]] = ("keypoints",)
    output: str = "output"
    stride: int = 4
    names: Sequence[str] = ()
    softmax: bool = False

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise UserError(f"task keypoints: stride is {self.stride}; give 1 or more")

    def decode(self, outputs: Mapping[str, Array]) -> Arrays:
        maps = output_named(outputs, self.output, "keypoints")
        self.refuse_other_shapes(maps.shape)
        width = maps.shape[-1]
        places = maps.reshape(*maps.shape[:2], -1)
        shares = shares_of(places, axis=2) if self.softmax else places
        spot = shares.argmax(axis=2)
        score = np.take_along_axis(shares, spot[..., None], axis=2)
        row, column = spot // width, spot % width
        x = column + _towards_neighbour(maps, row, column, (0, 1))
        y = row + _towards_neighbour(maps, row, column, (1, 0))
        pixels = (np.stack((x, y), axis=-1) + 0.5) * self.stride
        return {"keypoints": np.concatenate((pixels.astype(maps.dtype), score), axis=-1)}

    def refuse_other_shapes(self, shape: Sequence[int]) -> None:
        """Heat maps stand in rows and columns, one for each name."""
        if len(shape) != 4:
            raise UserError(
                f"the output {self.output!r} has the shape {list(shape)}",
                where="task keypoints",
                todo="Give heat maps [N, K, H, W].",
            )
        if self.names and len(self.names) != shape[1]:
            raise UserError(
                f"names has {len(self.names)} entries, the output {shape[1]} maps",
                where="task keypoints",
                todo="Name each keypoint once.",
            )

    def describe(
        self, outputs: Mapping[str, Array], place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        points = outputs["keypoints"][place].tolist()
        names = self.names or [str(number) for number in range(len(points))]
        return {
            "keypoints": {
                name: {"x": x, "y": y, "score": score}
                for name, (x, y, score) in zip(names, points, strict=True)
            }
        }


def _towards_neighbour(maps: Array, row: Array, column: Array, step: tuple[int, int]) -> Array:
    """A quarter of a place towards the higher of the two neighbours along an axis.

    A spot at the map's border has one neighbour there, which tells no direction: it stays.
    """
    height, width = maps.shape[-2:]
    flat = maps.reshape(*maps.shape[:2], -1)

    def at(sign: int) -> Array:
        rows = (row + sign * step[0]).clip(0, height - 1)
        columns = (column + sign * step[1]).clip(0, width - 1)
        return np.take_along_axis(flat, (rows * width + columns)[..., None], axis=2)[..., 0]

    along, last = (row, height - 1) if step[0] else (column, width - 1)
    moved: Array = 0.25 * np.sign(at(1) - at(-1)) * ((along > 0) & (along < last))
    return moved
