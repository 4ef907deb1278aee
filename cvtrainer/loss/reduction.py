"""What is left of one value per element: all of them, their sum, or their mean."""

from __future__ import annotations

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError

REDUCTIONS = ("mean", "sum", "none")
_HALF = (torch.float16, torch.bfloat16)


def refuse_unknown_reduction(who: str, reduction: str) -> None:
    if reduction not in REDUCTIONS:
        raise UserError(f"{who}: reduction is {reduction!r}; it can be {', '.join(REDUCTIONS)}")


def wide(values: Tensor) -> Tensor:
    """In float32 at least: sums over pictures overflow float16 and are coarse in bfloat16."""
    return values.float() if values.dtype in _HALF else values


def reduced(values: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return values
    return values.sum() if reduction == "sum" else values.mean()
