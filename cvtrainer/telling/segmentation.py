"""A class for each place of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.telling.reading import Array, Arrays, Telling, class_name, output_named, share_of


@dataclass(frozen=True)
class Segmentation(Telling):
    """Scores `[N, C, H, W]`; told is the share of each class."""

    kind: ClassVar[str] = "segmentation"
    IN_PICTURE: ClassVar[Mapping[str, str]] = {"class_map": "map"}
    DECODED: ClassVar[tuple[str, ...]] = ("class_map",)
    output: str = "output"
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise UserError(f"task segmentation: threshold is {self.threshold}; give 0 to 1")

    def decode(self, outputs: Mapping[str, Array]) -> Arrays:
        scores = output_named(outputs, self.output, "segmentation")
        self.refuse_other_shapes(scores.shape)
        if scores.shape[1] == 1:
            return {"class_map": (share_of(scores[:, 0]) >= self.threshold).astype(np.int64)}
        return {"class_map": scores.argmax(axis=1)}

    def refuse_other_shapes(self, shape: Sequence[int]) -> None:
        """Scores of places stand in rows and columns."""
        if len(shape) != 4:
            raise UserError(
                f"the output {self.output!r} has the shape {list(shape)}",
                where="task segmentation",
                todo="Give scores [N, C, H, W].",
            )

    def describe(
        self, outputs: Mapping[str, Array], place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        """The share of each class that occurs; places without a class (below 0) do not count."""
        numbers = outputs["class_map"][place]
        found, counts = np.unique(numbers[numbers >= 0], return_counts=True)
        whole = int(counts.sum())
        return {
            "shares": {
                class_name(number, classes): count / whole
                for number, count in zip(found.tolist(), counts.tolist(), strict=True)
            }
        }
