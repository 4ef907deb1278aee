"""What is left of one value per element: all of them, their sum, or their mean."""

from __future__ import annotations

from torch import Tensor

from cvtrainer.core.errors import UserError

REDUCTIONS = ("mean", "sum", "none")


def refuse_unknown_reduction(who: str, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise UserError(f"{who}: reduction is {reduction!r}; it can be {', '.join(REDUCTIONS)}")


def reduced(values: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return values
    return values.sum() if reduction == "sum" else values.mean()
