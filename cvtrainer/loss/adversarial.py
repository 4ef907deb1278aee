"""What a judge of real and made pictures learns, and what their maker learns from the judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError

KINDS = ("hinge", "least_squares", "cross_entropy")


class AdversarialLoss(nn.Module):
    """`judge(real, made)` is the judge's loss, `maker(made)` the maker's; all take scores."""

    def __init__(self, kind: Literal["hinge", "least_squares", "cross_entropy"] = "hinge") -> None:
        super().__init__()
        if kind not in KINDS:
            raise UserError(f"AdversarialLoss: kind is {kind!r}; it can be {', '.join(KINDS)}")
        self.kind = kind

    def judge(self, real: Tensor, made: Tensor) -> Tensor:
        if self.kind == "hinge":
            return (1 - real).relu().mean() + (1 + made).relu().mean()
        distance = _distance(self.kind)
        return (distance(real, torch.ones_like(real)) + distance(made, torch.zeros_like(made))) / 2

    def maker(self, made: Tensor) -> Tensor:
        if self.kind == "hinge":
            return -made.mean()
        return _distance(self.kind)(made, torch.ones_like(made))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """The judge's loss, of scores for made and for real pictures."""
        return self.judge(target, output)


def _distance(kind: str) -> Callable[[Tensor, Tensor], Tensor]:
    if kind == "least_squares":
        return functional.mse_loss
    return functional.binary_cross_entropy_with_logits
