"""Masks of objects: put together from prototypes, cut to boxes, brought to a map's stride."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def mixed_masks(coefficients: Tensor, prototypes: Tensor) -> Tensor:
    """Scores `[N, K, h, w]` of masks: `[N, K, P]` of prototypes `[N, P, h, w]`."""
    scores = coefficients @ prototypes.flatten(2)
    return scores.reshape(*scores.shape[:2], *prototypes.shape[-2:])


def within(boxes: Tensor, height: int, width: int, stride: float = 1.0) -> Tensor:
    """Which places `[..., height, width]` of a map with that stride lie in boxes `[..., 4]`."""
    x = (torch.arange(width, device=boxes.device) + 0.5) * stride
    y = (torch.arange(height, device=boxes.device) + 0.5) * stride
    left, top, right, bottom = (edge.unsqueeze(-1) for edge in boxes.unbind(-1))
    columns = (x >= left) & (x <= right)
    rows = (y >= top) & (y <= bottom)
    return rows.unsqueeze(-1) & columns.unsqueeze(-2)


def stride_of(size: int, places: int) -> int:
    """How many input pixels a place of a map stands for, which is a power of two."""
    return 1 << (-(-size // places) - 1).bit_length()


def at_stride(masks: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Masks `[T, H, W]` as shares of the places `[T, height, width]` of a map at that stride."""
    missing = (0, width * stride - masks.shape[-1], 0, height * stride - masks.shape[-2])
    padded = functional.pad(masks.float(), missing)
    return functional.avg_pool2d(padded, stride) if stride > 1 else padded
