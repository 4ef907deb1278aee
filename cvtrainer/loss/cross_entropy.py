"""Cross entropy of class scores with indices or with one value per class.

The value is torch's own for both forms, in float32 at least. What is added: class weights may be a
plain list, targets of any integer type are taken, one-hot targets take the number type of the
scores, whatever type they were made with, and a batch of which all is ignored costs nothing, where
torch's mean over no samples is no number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.loss.reduction import refuse_unknown_reduction, wide


class CrossEntropyLoss(nn.Module):
    """`torch.nn.CrossEntropyLoss` with arguments that a config can hold."""

    weight: Tensor | None

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        refuse_unknown_reduction("CrossEntropyLoss", reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise UserError(f"CrossEntropyLoss: label_smoothing is {label_smoothing}; give 0 to 1")
        values = None if weight is None else torch.as_tensor(weight, dtype=torch.float32)
        self.register_buffer("weight", values, persistent=False)
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scores `[N, C, ...]` against indices `[N, ...]` or values `[N, C, ...]`."""
        output = wide(output)
        indices = not target.is_floating_point()
        if target.shape == output.shape and output.ndim > 1:
            target, indices = target.to(output.dtype), False
        elif indices:
            target = target.long()
        value = functional.cross_entropy(
            output,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )
        if not indices or self.reduction != "mean":
            return value
        return torch.where((target != self.ignore_index).any(), value, 0.0)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}, label_smoothing={self.label_smoothing}"
