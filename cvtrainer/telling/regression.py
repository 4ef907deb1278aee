"""One number or several per sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.telling.reading import Array, Arrays, Telling, output_named


@dataclass(frozen=True)
class Regression(Telling):
    """Outputs `[N]`, `[N, 1]` or `[N, D]`, brought to the scale of the targets."""

    kind: ClassVar[str] = "regression"
    DECODED: ClassVar[tuple[str, ...]] = ("values",)
    output: str = "output"
    names: Sequence[str] = ()
    mean: float | Sequence[float] = 0.0
    std: float | Sequence[float] = 1.0

    def decode(self, outputs: Mapping[str, Array]) -> Arrays:
        made = output_named(outputs, self.output, "regression")
        made = made.reshape(len(made), -1)
        self.refuse_other_names(made.shape[1])
        return {
            "values": made * np.asarray(self.std, made.dtype) + np.asarray(self.mean, made.dtype)
        }

    def refuse_other_names(self, width: int) -> None:
        """Each value has its name, where any has."""
        if self.names and len(self.names) != width:
            raise UserError(
                f"names has {len(self.names)} entries, the output {width} values",
                where="task regression",
                todo="Name each value once.",
            )

    def describe(
        self, outputs: Mapping[str, Array], place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        values = outputs["values"][place].tolist()
        if self.names:
            return dict(zip(self.names, values, strict=True))
        return {"value": values[0]} if len(values) == 1 else {"values": values}
