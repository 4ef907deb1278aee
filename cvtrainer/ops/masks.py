"""Masks of objects: put together from prototypes, and written as runs.

Runs are COCO's: how many places outside, inside, outside ... follow each other, column by column.
Their text has six bits a character, and from the third run on the difference to the one before the
last.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

_FIRST = 48
_MORE = 0x20
_NEGATIVE = 0x10


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


def runs_of(mask: Tensor) -> list[int]:
    """The runs of one mask `[H, W]`, the first outside."""
    flat = mask.t().reshape(-1).ne(0).to(torch.int8).cpu()
    if not flat.numel():
        return []
    changes = flat.diff().nonzero().squeeze(1) + 1
    ends = torch.cat((changes, changes.new_tensor([flat.numel()])))
    counts: list[int] = ends.diff(prepend=ends.new_zeros(1)).tolist()
    return [0, *counts] if flat[0] else counts


def run_text(runs: Sequence[int]) -> str:
    """Runs as the text that COCO's annotations have in `counts`."""
    letters: list[str] = []
    for place, run in enumerate(runs):
        left = run - runs[place - 2] if place > 2 else run
        more = True
        while more:
            bits = left & 0x1F
            left >>= 5
            more = left != (-1 if bits & _NEGATIVE else 0)
            letters.append(chr((bits | _MORE if more else bits) + _FIRST))
    return "".join(letters)
