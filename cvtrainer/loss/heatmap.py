"""Heat maps against keypoints: a hill around each place, drawn when the loss is computed.

Places are pixels of the input, with pixel 0 reaching from 0 to 1, as everywhere in the data. By
default a map is scores of the places, of which one is right; that finds places in a tenth of the
steps that hills drawn in numbers from 0 to 1 need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.loss.reduction import reduced, refuse_unknown_reduction

_LEAST = 1e-6
"""What a hill outside of its map has in all."""


class HeatmapLoss(nn.Module):
    """One value per keypoint that is there; 0 for a map that is as it should be.

    `kind: entropy` compares the softmax over a map with the hill as shares, `squares` sums the
    squared differences from a hill as high as 1. `stride` is how many input pixels one place of a
    map stands for, `sigma` the width of the hills in places. Points `[N, K, 3]` with 0 as their
    third value, and those without numbers, are not there and do not count.
    """

    def __init__(
        self,
        stride: int = 4,
        sigma: float = 1.0,
        kind: Literal["entropy", "squares"] = "entropy",
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if stride < 1 or sigma <= 0:
            raise UserError(
                f"HeatmapLoss: stride is {stride}, sigma {sigma}; give 1 or more, more than 0"
            )
        if kind not in ("entropy", "squares"):
            raise UserError(f"HeatmapLoss: kind is {kind!r}; it can be entropy or squares")
        refuse_unknown_reduction("HeatmapLoss", reduction)
        self.stride = stride
        self.sigma = sigma
        self.kind = kind
        self.reduction = reduction

    def forward(self, output: Tensor, target: Tensor, x: Tensor | None = None) -> Tensor:
        """Maps `[N, K, h, w]` against points `[N, K, 2]` or `[N, K, 3]`; the pictures `x` of a
        batch tell whether the stride is that of the maps."""
        if output.ndim != 4 or target.ndim != 3 or output.shape[:2] != target.shape[:2]:
            raise UserError(
                f"HeatmapLoss: the output has the shape {list(output.shape)} and the target "
                f"{list(target.shape)}; give maps [N, K, h, w] and points [N, K, 2] or [N, K, 3]"
            )
        if x is not None and x.ndim == 4:
            self._refuse_other_strides(output.shape[-2:], x.shape[-2:])
        hills = self.hills(target.nan_to_num(0.0), *output.shape[2:]).flatten(2)
        maps = output.float().flatten(2)
        if self.kind == "squares":
            each = (maps - hills).square().sum(dim=2)
        else:
            shares = hills / hills.sum(dim=2, keepdim=True).clamp(min=_LEAST)
            each = functional.kl_div(maps.log_softmax(dim=2), shares, reduction="none").sum(dim=2)
        there = _there(target)
        each = each.masked_fill(there == 0, 0.0)
        if self.reduction == "mean":
            return each.sum() / there.sum().clamp(min=1)
        return reduced(each, self.reduction)

    def hills(self, points: Tensor, height: int, width: int) -> Tensor:
        """The maps `[N, K, height, width]` that the network is to give."""
        places = points[..., :2].float() / self.stride - 0.5
        columns = torch.arange(width, device=points.device) - places[..., :1]
        rows = torch.arange(height, device=points.device) - places[..., 1:]
        scale = -0.5 / self.sigma**2
        across, down = (columns.square() * scale).exp(), (rows.square() * scale).exp()
        return down.unsqueeze(-1) * across.unsqueeze(-2)

    def _refuse_other_strides(self, maps: Sequence[int], pictures: Sequence[int]) -> None:
        """Points would be learnt in other places than those they have."""
        off = [abs(a * self.stride - b) for a, b in zip(maps, pictures, strict=True)]
        if max(off) >= self.stride:
            raise UserError(
                f"HeatmapLoss: maps of {list(maps)} with a stride of {self.stride} are not those "
                f"of pictures of {list(pictures)}",
                todo="Set stride to the input pixels that one place of a map stands for; of the "
                "head heatmap the backbone's finest tap.",
            )

    def extra_repr(self) -> str:
        words = f"stride={self.stride}, sigma={self.sigma}, kind={self.kind!r}"
        return f"{words}, reduction={self.reduction!r}"


def _there(points: Tensor) -> Tensor:
    """1 for points that are there, 0 for the others."""
    there = points[..., :2].isfinite().all(dim=-1)
    if points.shape[-1] > 2:
        there &= points[..., 2] > 0
    return there.float()
