"""What the outputs of a model mean where its config names no task.

Scores `[N, C]` are read as what they were trained for: classes, labels or numbers, which the
criterion tells. Anything else is told as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from cvtrainer.core.several_nodes import several_nodes
from cvtrainer.protocols import Outputs, Reading
from cvtrainer.tasks import Classification, MultiLabelClassification, Regression
from cvtrainer.tasks.reading import arrays_of
from cvtrainer.telling import pictures

_NUMBERS = ("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss")
_LABELS = ("BCEWithLogitsLoss", "MultiLabelSoftMarginLoss")


class Plain:
    """Small outputs as numbers, large ones by their shape and range."""

    def __init__(self) -> None:
        self.telling = pictures.Plain()

    def decode(self, outputs: Outputs) -> Outputs:
        return {}

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        rows = {name: one for name, one in outputs.items() if _is_batched(one, place)}
        return self.telling.describe(arrays_of(rows, place), 0, classes)


def default_reading(stage: Mapping[str, Any], outputs: Outputs) -> Reading:
    """The reading of a stage without a task."""
    name = "output" if "output" in outputs else next(iter(outputs), "")
    scores = outputs.get(name)
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        return Plain()
    losses = [str(node["type"]).replace(":", ".").rpartition(".")[2] for node in _criteria(stage)]
    if any(loss in _NUMBERS for loss in losses) and scores.ndim <= 2:
        return Regression(name)
    if scores.ndim != 2:
        return Plain()
    if any(loss in _LABELS for loss in losses):
        return MultiLabelClassification(name)
    return Classification(name) if scores.shape[1] > 1 else Plain()


def _criteria(stage: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [node for _, node in several_nodes(stage, "criterion")]


def _is_batched(value: Any, place: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 0 and len(value) > place
