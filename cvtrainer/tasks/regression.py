"""One number or several per sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cvtrainer.protocols import Outputs
from cvtrainer.tasks.reading import arrays_of, output_named
from cvtrainer.telling import regression as telling


class Regression:
    """Outputs `[N]`, `[N, 1]` or `[N, D]` become `values` on the scale of the targets.

    `mean` and `std` undo a normalisation of targets that were trained on another scale.
    """

    def __init__(
        self,
        output: str = "output",
        names: Sequence[str] = (),
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
    ) -> None:
        self.output = output
        self.names = list(names)
        self.mean = mean
        self.std = std
        self.telling = telling.Regression(output, tuple(names), _plain(mean), _plain(std))

    def decode(self, outputs: Outputs) -> Outputs:
        made = output_named(outputs, self.output, "regression")
        made = made.unsqueeze(1) if made.ndim == 1 else made.flatten(1)
        self.telling.refuse_other_names(made.shape[1])
        return {"values": made * made.new_tensor(self.std) + made.new_tensor(self.mean)}

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        return self.telling.describe(arrays_of(outputs, place), 0, classes)


def _plain(numbers: float | Sequence[float]) -> float | tuple[float, ...]:
    return tuple(numbers) if isinstance(numbers, Sequence) else numbers
