"""Models whose backbone takes more than one field of the batch.

The names of the parameters are those of the fields, so nothing needs a bind: `x_padding` is what
collate says of an `x` of open length.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from cvtrainer.models.composed import BaseModel


class SequenceModel(BaseModel):
    """Series or texts of unequal length; those of one length have no padding."""

    def forward(self, x: Tensor, x_padding: Tensor | None = None) -> Any:
        return self.head(self.adapter(self.backbone(x, x_padding)))


class TableModel(BaseModel):
    """Numbers of a row, and its categories where there are any."""

    def forward(self, x: Tensor, categories: Tensor | None = None) -> Any:
        return self.head(self.adapter(self.backbone(x, categories)))


class GraphModel(BaseModel):
    """Nodes and the edges between them, padded where graphs differ in size."""

    # The field that no graph is without has no default, unlike what one more parameter may have.
    def forward(  # type: ignore[override]
        self, x: Tensor, edges: Tensor, x_padding: Tensor | None = None
    ) -> Any:
        return self.head(self.adapter(self.backbone(x, edges, x_padding)))
