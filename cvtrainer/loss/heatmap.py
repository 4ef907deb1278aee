"""Heat maps against keypoints: a hill around each place, drawn when the loss is computed.

Places are pixels of the input, with pixel 0 reaching from 0 to 1, as everywhere in the data; the
hills are as high as 1, so that what a trained map has at its highest spot says how sure it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.loss.reduction import reduced, refuse_unknown_reduction


class HeatmapLoss(nn.Module):
    """Squared differences, summed over each map: one value per keypoint that is there.

    `stride` is how many input pixels one place of a map stands for, `sigma` the width of the hills
    in places. Points `[N, K, 3]` with 0 as their third value are not there and do not count.
    """

    def __init__(self, stride: int = 4, sigma: float = 1.5, reduction: str = "mean") -> None:
        super().__init__()
        if stride < 1 or sigma <= 0:
            raise UserError(
                f"HeatmapLoss: stride is {stride}, sigma {sigma}; give 1 or more, more than 0"
            )
        refuse_unknown_reduction("HeatmapLoss", reduction)
        self.stride = stride
        self.sigma = sigma
        self.reduction = reduction

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Maps `[N, K, h, w]` against points `[N, K, 2]` or `[N, K, 3]`."""
        if output.ndim != 4 or target.ndim != 3 or output.shape[:2] != target.shape[:2]:
            raise UserError(
                f"HeatmapLoss: the output has the shape {list(output.shape)} and the target "
                f"{list(target.shape)}; give maps [N, K, h, w] and points [N, K, 2] or [N, K, 3]"
            )
        apart = (output - self.hills(target, *output.shape[2:]).to(output.dtype)).square()
        each = apart.flatten(2).sum(dim=2)
        there = _there(target)
        if self.reduction == "mean":
            return (each * there).sum() / there.sum().clamp(min=1)
        return reduced(each * there, self.reduction)

    def hills(self, points: Tensor, height: int, width: int) -> Tensor:
        """The maps `[N, K, height, width]` that the network is to give."""
        places = points[..., :2].float() / self.stride - 0.5
        columns = torch.arange(width, device=points.device) - places[..., :1]
        rows = torch.arange(height, device=points.device) - places[..., 1:]
        scale = -0.5 / self.sigma**2
        across, down = (columns.square() * scale).exp(), (rows.square() * scale).exp()
        return down.unsqueeze(-1) * across.unsqueeze(-2)

    def extra_repr(self) -> str:
        return f"stride={self.stride}, sigma={self.sigma}, reduction={self.reduction!r}"


def _there(points: Tensor) -> Tensor:
    """1 for points that are there, 0 for the others."""
    if points.shape[-1] > 2:
        return (points[..., 2] > 0).float()
    return points.new_ones(points.shape[:2], dtype=torch.float32)
