"""Named places in a picture, found as the highest spots of heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from cvtrainer.protocols import Outputs
from cvtrainer.tasks.reading import arrays_of, output_named
from cvtrainer.telling import keypoints as telling


class Keypoints:
    """Heat maps `[N, K, h, w]` become `keypoints` `[N, K, 3]`: x, y in input pixels, and a score.

    `stride` is how many input pixels one place of a map stands for; pixel 0 reaches from 0 to 1.
    Places between two are found from the neighbours of the highest spot. `softmax: true` tells the
    score as a share of all places, for maps that were trained as such; otherwise it is the map's.
    """

    IN_PICTURE: ClassVar[Mapping[str, str]] = telling.Keypoints.IN_PICTURE

    def __init__(
        self,
        output: str = "output",
        stride: int = 4,
        names: Sequence[str] = (),
        softmax: bool = False,
    ) -> None:
        self.telling = telling.Keypoints(output, stride, tuple(names), softmax)
        self.output = output
        self.stride = stride
        self.names = list(names)
        self.softmax = softmax

    def decode(self, outputs: Outputs) -> Outputs:
        maps = output_named(outputs, self.output, "keypoints")
        self.telling.refuse_other_shapes(maps.shape)
        width = maps.shape[-1]
        places = maps.flatten(2)
        score, spot = (places.softmax(dim=2) if self.softmax else places).max(dim=2)
        row, column = spot // width, spot % width
        x = column + _towards_neighbour(maps, row, column, (0, 1))
        y = row + _towards_neighbour(maps, row, column, (1, 0))
        pixels = (torch.stack((x, y), dim=-1) + 0.5) * self.stride
        return {"keypoints": torch.cat((pixels, score.unsqueeze(-1)), dim=-1)}

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        return self.telling.describe(arrays_of(outputs, place), 0, classes)


def _towards_neighbour(maps: Tensor, row: Tensor, column: Tensor, step: tuple[int, int]) -> Tensor:
    """A quarter of a place towards the higher of the two neighbours along an axis.

    A spot at the map's border has one neighbour there, which tells no direction: it stays.
    """
    height, width = maps.shape[-2:]

    def at(sign: int) -> Tensor:
        rows = (row + sign * step[0]).clamp(0, height - 1)
        columns = (column + sign * step[1]).clamp(0, width - 1)
        return maps.flatten(2).gather(2, (rows * width + columns).unsqueeze(-1)).squeeze(-1)

    along, last = (row, height - 1) if step[0] else (column, width - 1)
    return 0.25 * torch.sign(at(1) - at(-1)) * ((along > 0) & (along < last))
