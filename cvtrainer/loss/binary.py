"""Binary cross entropy per class, for samples that belong to any number of classes at once.

The value is torch's own, in float32 at least. What is added: weights may be plain lists, and
targets take the number type of the scores, so that integer and boolean ones work. Targets beyond 0
to 1, which torch takes and whose loss has no bottom, are refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.loss.class_targets import refuse_other_numbers
from cvtrainer.loss.reduction import refuse_unknown_reduction, wide


class BCEWithLogitsLoss(nn.Module):
    """`torch.nn.BCEWithLogitsLoss` with arguments that a config can hold."""

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        reduction: str = "mean",
        pos_weight: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        refuse_unknown_reduction("BCEWithLogitsLoss", reduction)
        for name, values in (("weight", weight), ("pos_weight", pos_weight)):
            tensor = None if values is None else torch.as_tensor(values, dtype=torch.float32)
            self.register_buffer(name, tensor, persistent=False)
        self.reduction = reduction

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scores against values 0 to 1 of the same shape, of one channel also `[N, ...]`."""
        output = wide(output)
        if target.ndim + 1 == output.ndim and output.shape[1] == 1:
            target = target.unsqueeze(1)
        if target.shape != output.shape:
            raise UserError(
                f"BCEWithLogitsLoss: the target has the shape {list(target.shape)} and the output "
                f"{list(output.shape)}; give one value per class, such as a one-hot target"
            )
        refuse_other_numbers("BCEWithLogitsLoss", target)
        return functional.binary_cross_entropy_with_logits(
            output,
            target.to(output.dtype),
            weight=self.weight,
            reduction=self.reduction,
            pos_weight=self.pos_weight,
        )

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"
