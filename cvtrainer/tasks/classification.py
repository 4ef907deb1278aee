"""One class per sample, or any number of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cvtrainer.protocols import Outputs
from cvtrainer.tasks.reading import arrays_of, output_named
from cvtrainer.telling import classification as telling


class Classification:
    """Scores `[N, C]` become `probabilities` and `class_id`; `top` classes are told.

    With scores `[N, C, ...]` each place has its class: a node of a graph, a point of time.
    """

    def __init__(self, output: str = "output", top: int = 5) -> None:
        self.telling = telling.Classification(output, top)
        self.output = output
        self.top = top

    def decode(self, outputs: Outputs) -> Outputs:
        shares = output_named(outputs, self.output, "classification").softmax(dim=1)
        return {"probabilities": shares, "class_id": shares.argmax(dim=1)}

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        return self.telling.describe(arrays_of(outputs, place), 0, classes)


class MultiLabelClassification:
    """Scores `[N, C]` become `probabilities` and `present`, those from `threshold` on."""

    def __init__(self, output: str = "output", threshold: float = 0.5) -> None:
        self.telling = telling.MultiLabel(output, threshold)
        self.output = output
        self.threshold = threshold

    def decode(self, outputs: Outputs) -> Outputs:
        shares = output_named(outputs, self.output, "multi_label").sigmoid()
        return {"probabilities": shares, "present": shares >= self.threshold}

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        return self.telling.describe(arrays_of(outputs, place), 0, classes)
