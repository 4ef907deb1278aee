"""Outputs that are pictures: nothing is read in them, a prediction writes them as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cvtrainer.protocols import Outputs
from cvtrainer.tasks.reading import arrays_of, output_named
from cvtrainer.telling import pictures as telling


class Pictures:
    """The output is pictures `[N, C, H, W]` on a scale of 0 to 1, grey or with colours."""

    def __init__(self, output: str = "recon") -> None:
        self.output = output
        self.PICTURES = (output,)
        self.telling = telling.Pictures(output)

    def decode(self, outputs: Outputs) -> Outputs:
        self.telling.refuse_other_shapes(output_named(outputs, self.output, "pictures").shape)
        return {}

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        """Size and mean brightness."""
        return self.telling.describe(arrays_of(outputs, place), 0, classes)
