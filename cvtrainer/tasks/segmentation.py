"""A class for each place of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import Outputs
from cvtrainer.tasks.reading import class_name, output_named


class Segmentation:
    """Scores `[N, C, H, W]` become `class_map` `[N, H, W]`.

    With one channel a place is inside (1) where its probability reaches `threshold`.
    """

    IN_PICTURE: ClassVar[Mapping[str, str]] = {"class_map": "map"}

    def __init__(self, output: str = "output", threshold: float = 0.5) -> None:
        if not 0 < threshold < 1:
            raise UserError(f"task segmentation: threshold is {threshold}; give 0 to 1")
        self.output = output
        self.threshold = threshold

    def decode(self, outputs: Outputs) -> Outputs:
        scores = output_named(outputs, self.output, "segmentation")
        if scores.ndim != 4:
            raise UserError(
                f"the output {self.output!r} has the shape {list(scores.shape)}",
                where="task segmentation",
                todo="Give scores [N, C, H, W].",
            )
        if scores.shape[1] == 1:
            return {"class_map": (scores[:, 0].sigmoid() >= self.threshold).long()}
        return {"class_map": scores.argmax(dim=1)}

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        """The share of each class that occurs; places without a class (below 0) do not count."""
        numbers = outputs["class_map"][place]
        found, counts = torch.unique(numbers[numbers >= 0], return_counts=True)
        whole = int(counts.sum())
        return {
            "shares": {
                class_name(number, classes): count / whole
                for number, count in zip(found.tolist(), counts.tolist(), strict=True)
            }
        }
