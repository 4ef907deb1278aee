"""One class per sample, or any number of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import Outputs
from cvtrainer.tasks.reading import class_name, output_named


class Classification:
    """Scores `[N, C]` become `probabilities` and `class_id`; `top` classes are told.

    With scores `[N, C, ...]` each place has its class: a node of a graph, a point of time.
    """

    def __init__(self, output: str = "output", top: int = 5) -> None:
        if top < 1:
            raise UserError(f"task classification: top is {top}; give 1 or more")
        self.output = output
        self.top = top

    def decode(self, outputs: Outputs) -> Outputs:
        shares = output_named(outputs, self.output, "classification").softmax(dim=1)
        return {"probabilities": shares, "class_id": shares.argmax(dim=1)}

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        shares = outputs["probabilities"][place]
        if shares.ndim > 1:
            return {"places": [self._told(one, classes) for one in shares.flatten(1).T]}
        return {"class_id": int(outputs["class_id"][place]), **self._told(shares, classes)}

    def _told(self, shares: Tensor, classes: Sequence[str] | None) -> dict[str, Any]:
        best = shares.topk(min(self.top, len(shares)))
        ranked = [
            {"class": class_name(number, classes), "probability": share}
            for number, share in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
        return {**ranked[0], "top": ranked}


class MultiLabelClassification:
    """Scores `[N, C]` become `probabilities` and `present`, those from `threshold` on."""

    def __init__(self, output: str = "output", threshold: float = 0.5) -> None:
        if not 0 < threshold < 1:
            raise UserError(f"task multi_label: threshold is {threshold}; give 0 to 1")
        self.output = output
        self.threshold = threshold

    def decode(self, outputs: Outputs) -> Outputs:
        shares = output_named(outputs, self.output, "multi_label").sigmoid()
        return {"probabilities": shares, "present": shares >= self.threshold}

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        shares = outputs["probabilities"][place].tolist()
        there = outputs["present"][place].nonzero().flatten().tolist()
        return {
            "classes": [
                {"class": class_name(number, classes), "probability": shares[number]}
                for number in sorted(there, key=lambda number: -shares[number])
            ]
        }
