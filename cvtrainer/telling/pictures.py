"""Outputs that are pictures, and outputs of which nothing is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from cvtrainer.core.errors import UserError
from cvtrainer.telling.reading import Array, Arrays, Telling, output_named

_TOLD_WHOLE = 64


@dataclass(frozen=True)
class Pictures(Telling):
    """Pictures `[N, C, H, W]` on a scale of 0 to 1; told are size and mean brightness."""

    kind: ClassVar[str] = "pictures"
    output: str = "recon"

    def decode(self, outputs: Mapping[str, Array]) -> Arrays:
        self.refuse_other_shapes(output_named(outputs, self.output, "pictures").shape)
        return {}

    def refuse_other_shapes(self, shape: Sequence[int]) -> None:
        """Pictures are grey or have colours."""
        if len(shape) != 4 or shape[1] not in (1, 3):
            raise UserError(
                f"the output {self.output!r} has the shape {list(shape)}",
                where="task pictures",
                todo="Give pictures [N, 1 or 3, H, W].",
            )

    def describe(
        self, outputs: Mapping[str, Array], place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        made = outputs[self.output][place]
        height, width = made.shape[-2:]
        return {"height": height, "width": width, "mean": float(made.mean(dtype=np.float32))}


@dataclass(frozen=True)
class Plain(Telling):
    """Small outputs as numbers, large ones by their shape and range."""

    kind: ClassVar[str] = "plain"

    def decode(self, outputs: Mapping[str, Array]) -> Arrays:
        return {}

    def describe(
        self, outputs: Mapping[str, Array], place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        rows = {name: one[place] for name, one in outputs.items() if one.ndim and len(one) > place}
        return {"outputs": {name: _told(np.asarray(value)) for name, value in rows.items()}}


def _told(value: Array) -> Any:
    if value.size <= _TOLD_WHOLE:
        return value.tolist()
    told: dict[str, Any] = {"shape": list(value.shape)}
    if value.dtype.kind == "f":
        mean = float(value.mean(dtype=np.float32))
        told |= {"min": float(value.min()), "max": float(value.max()), "mean": mean}
    return told
