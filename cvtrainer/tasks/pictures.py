"""Outputs that are pictures: nothing is read in them, a prediction writes them as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import Outputs
from cvtrainer.tasks.reading import output_named


class Pictures:
    """The output is pictures `[N, C, H, W]` on a scale of 0 to 1, grey or with colours."""

    def __init__(self, output: str = "recon") -> None:
        self.output = output
        self.PICTURES = (output,)

    def decode(self, outputs: Outputs) -> Outputs:
        made = output_named(outputs, self.output, "pictures")
        if made.ndim != 4 or made.shape[1] not in (1, 3):
            raise UserError(
                f"the output {self.output!r} has the shape {list(made.shape)}",
                where="task pictures",
                todo="Give pictures [N, 1 or 3, H, W].",
            )
        return {}

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        """Size and mean brightness."""
        made = outputs[self.output][place]
        height, width = made.shape[-2:]
        return {"height": height, "width": width, "mean": float(made.float().mean())}
