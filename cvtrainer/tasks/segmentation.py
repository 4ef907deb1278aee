"""A class for each place of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from cvtrainer.protocols import Outputs
from cvtrainer.tasks.reading import arrays_of, output_named
from cvtrainer.telling import segmentation as telling


class Segmentation:
    """Scores `[N, C, H, W]` become `class_map` `[N, H, W]`.

    With one channel a place is inside (1) where its probability reaches `threshold`.
    """

    IN_PICTURE: ClassVar[Mapping[str, str]] = telling.Segmentation.IN_PICTURE

    def __init__(self, output: str = "output", threshold: float = 0.5) -> None:
        self.telling = telling.Segmentation(output, threshold)
        self.output = output
        self.threshold = threshold

    def decode(self, outputs: Outputs) -> Outputs:
        scores = output_named(outputs, self.output, "segmentation")
        self.telling.refuse_other_shapes(scores.shape)
        if scores.shape[1] == 1:
            return {"class_map": (scores[:, 0].sigmoid() >= self.threshold).long()}
        return {"class_map": scores.argmax(dim=1)}

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        """The share of each class that occurs; places without a class (below 0) do not count."""
        return self.telling.describe(arrays_of(outputs, place), 0, classes)
