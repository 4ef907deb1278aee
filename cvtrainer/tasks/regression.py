"""One number or several per sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import Outputs
from cvtrainer.tasks.reading import output_named


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

    def decode(self, outputs: Outputs) -> Outputs:
        made = output_named(outputs, self.output, "regression")
        made = made.unsqueeze(1) if made.ndim == 1 else made.flatten(1)
        if self.names and len(self.names) != made.shape[1]:
            raise UserError(
                f"names has {len(self.names)} entries, the output {made.shape[1]} values",
                where="task regression",
                todo="Name each value once.",
            )
        return {"values": made * made.new_tensor(self.std) + made.new_tensor(self.mean)}

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        values = outputs["values"][place].tolist()
        if self.names:
            return dict(zip(self.names, values, strict=True))
        return {"value": values[0]} if len(values) == 1 else {"values": values}
