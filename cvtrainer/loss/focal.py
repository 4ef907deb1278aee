"""Focal loss: cross entropy that counts what is already right for little.

`sigmoid` judges every class for itself, as dense detection and multi-label data want it;
`softmax` judges the classes against each other. Targets are indices or one value per class.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.loss import class_targets
from cvtrainer.loss.reduction import reduced, refuse_unknown_reduction, wide


class FocalLoss(nn.Module):
    """`alpha` weighs what belongs to a class against what does not; below 0 it weighs nothing.

    With softmax `alpha` is a factor of the whole. Samples of `ignore_index` count for nothing.
    Indices 0 and 1 are targets of one channel, too.
    """

    OF_ONE_CHANNEL: ClassVar[int] = class_targets.OF_ONE_CHANNEL

    def __init__(
        self,
        alpha: float = 0.25,
        gamma: float = 2.0,
        activation: Literal["sigmoid", "softmax"] = "sigmoid",
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if activation not in ("sigmoid", "softmax"):
            raise UserError(f"FocalLoss: activation is {activation!r}; it can be sigmoid, softmax")
        refuse_unknown_reduction("FocalLoss", reduction)
        self.alpha = alpha
        self.gamma = gamma
        self.activation = activation
        self.ignore_index = ignore_index
        self.reduction = reduction

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scores `[N, C, ...]` against indices `[N, ...]` or values `[N, C, ...]`."""
        output = wide(output)
        wanted, counts = self._per_class(output, target)
        if self.activation == "sigmoid":
            values = self._of_each(output, wanted) * counts.unsqueeze(1)
            elements = counts.sum() * output.shape[1]
        else:
            logs = functional.log_softmax(output, dim=1)
            missed = _power(1 - logs.exp(), self.gamma)
            values = -(wanted * missed * logs).sum(dim=1) * counts
            values = values * (self.alpha if self.alpha >= 0 else 1.0)
            elements = counts.sum()
        if self.reduction == "mean":
            mean: Tensor = values.sum() / elements.clamp(min=1)
            return mean
        return reduced(values, self.reduction)

    def _of_each(self, output: Tensor, wanted: Tensor) -> Tensor:
        """Every class judged for itself."""
        share = output.sigmoid()
        missed = share * (1 - wanted) + (1 - share) * wanted
        values = functional.binary_cross_entropy_with_logits(output, wanted, reduction="none")
        values = values * _power(missed, self.gamma)
        if self.alpha < 0:
            return values
        return values * (self.alpha * wanted + (1 - self.alpha) * (1 - wanted))

    def _per_class(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """One value per class, and which places count."""
        if target.shape == output.shape:
            return target.to(output.dtype), torch.ones_like(output[:, 0])
        classes, counts = class_targets.wanted("FocalLoss", output, target, self.ignore_index)
        return classes, counts.to(output.dtype)


class QualityFocalLoss(nn.Module):
    """Focal loss for scores that shall be a quality between 0 and 1, such as an overlap."""

    def __init__(self, beta: float = 2.0, reduction: str = "mean") -> None:
        super().__init__()
        refuse_unknown_reduction("QualityFocalLoss", reduction)
        self.beta = beta
        self.reduction = reduction

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scores before the sigmoid against qualities of the same shape."""
        output = wide(output)
        wanted = target.to(output.dtype)
        distance = _power((wanted - output.sigmoid()).abs(), self.beta)
        values = functional.binary_cross_entropy_with_logits(output, wanted, reduction="none")
        return reduced(values * distance, self.reduction)


def _power(missed: Tensor, exponent: float) -> Tensor:
    """Below 1 a power is infinitely steep at 0, where what is right already has no slope."""
    return missed.clamp(min=torch.finfo(missed.dtype).tiny) ** exponent
