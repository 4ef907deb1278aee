"""Losses of overlap: of regions by Dice, of boxes by IoU and what has been made of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.loss import class_targets
from cvtrainer.loss.reduction import reduced, refuse_unknown_reduction, wide

_EPSILON = 1e-7
_KINDS = ("iou", "giou", "diou", "ciou")


class DiceLoss(nn.Module):
    """One minus the Dice coefficient, averaged over classes and samples.

    With one channel the output is a single region (sigmoid), with more the classes share each
    place (softmax). `smooth` decides what an empty region costs; `per_sample: false` counts the
    whole batch as one picture. Places of `ignore_index` count for nothing.
    """

    OF_ONE_CHANNEL: ClassVar[int] = class_targets.OF_ONE_CHANNEL

    def __init__(
        self,
        smooth: float = 1.0,
        per_sample: bool = True,
        ignore_index: int = -100,
        skip_background: bool = False,
    ) -> None:
        super().__init__()
        if smooth < 0:
            raise UserError(f"DiceLoss: smooth is {smooth}; give 0 or more")
        self.smooth = smooth
        self.per_sample = per_sample
        self.ignore_index = ignore_index
        self.skip_background = skip_background

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scores `[N, C, ...]` against indices `[N, ...]` or values `[N, C, ...]`."""
        output = wide(output)
        single = output.shape[1] == 1
        shares = output.sigmoid() if single else output.softmax(dim=1)
        wanted, counts = self._wanted(output, target)
        shares, wanted = (shares * counts).flatten(2), (wanted * counts).flatten(2)
        if self.skip_background and not single:
            shares, wanted = shares[:, 1:], wanted[:, 1:]
        places = (2,) if self.per_sample else (0, 2)
        both = (shares * wanted).sum(dim=places)
        each = shares.sum(dim=places) + wanted.sum(dim=places)
        return 1 - ((2 * both + self.smooth) / (each + self.smooth + _EPSILON)).mean()

    def _wanted(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        if target.shape == output.shape:
            counts = target != self.ignore_index
            return target.to(output.dtype), counts.to(output.dtype)
        wanted, counts = class_targets.wanted("DiceLoss", output, target, self.ignore_index)
        return wanted, counts.unsqueeze(1).to(output.dtype)


class BoxIoULoss(nn.Module):
    """One minus the overlap of each pair of boxes `[N, 4]` (x1, y1, x2, y2)."""

    def __init__(
        self, kind: Literal["iou", "giou", "diou", "ciou"] = "ciou", reduction: str = "mean"
    ) -> None:
        super().__init__()
        if kind not in _KINDS:
            raise UserError(f"BoxIoULoss: kind is {kind!r}; it can be {', '.join(_KINDS)}")
        refuse_unknown_reduction("BoxIoULoss", reduction)
        self.kind = kind
        self.reduction = reduction
        self._of_pairs = _of_kind(kind)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """No boxes cost nothing."""
        if output.shape != target.shape or output.shape[-1] != 4:
            raise UserError(
                f"BoxIoULoss: boxes have the shape {list(output.shape)}, those wanted "
                f"{list(target.shape)}; give pairs, [N, 4] each"
            )
        if not output.numel():
            return output.sum()
        output = wide(output)
        return reduced(self._of_pairs(output, target.to(output.dtype)), self.reduction)


def _plain(boxes: Tensor, wanted: Tensor) -> Tensor:
    return 1 - _overlap(boxes, wanted)


def _overlap(boxes: Tensor, wanted: Tensor) -> Tensor:
    left_top = torch.maximum(boxes[..., :2], wanted[..., :2])
    right_bottom = torch.minimum(boxes[..., 2:], wanted[..., 2:])
    both = (right_bottom - left_top).clamp(min=0).prod(dim=-1)
    areas = [(one[..., 2:] - one[..., :2]).prod(dim=-1) for one in (boxes, wanted)]
    return both / (areas[0] + areas[1] - both + _EPSILON)


def _complete(boxes: Tensor, wanted: Tensor) -> Tensor:
    """As torchvision's, which gives no number for a box without height."""
    from torchvision import ops

    apart = ops.distance_box_iou_loss(boxes, wanted)
    slants = [_slant(one) for one in (boxes, wanted)]
    shape = (4 / math.pi**2) * (slants[1] - slants[0]).square()
    with torch.no_grad():
        weight = shape / (1 - _overlap(boxes, wanted) + shape + _EPSILON)
    both: Tensor = apart + weight * shape
    return both


def _slant(boxes: Tensor) -> Tensor:
    """The angle of a diagonal."""
    width, height = (boxes[..., 2:] - boxes[..., :2]).unbind(-1)
    return torch.atan(width / height.clamp(min=_EPSILON))


def _of_kind(kind: str) -> Callable[[Tensor, Tensor], Tensor]:
    if kind in ("iou", "ciou"):
        return _plain if kind == "iou" else _complete
    # Not above: importing torchvision takes over a second, and few runs need it.
    from torchvision import ops

    of_kind: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "giou": ops.generalized_box_iou_loss,
        "diou": ops.distance_box_iou_loss,
    }
    return of_kind[kind]


class DistributionFocalLoss(nn.Module):
    """A distance as a distribution over whole steps: the two steps around it share the credit."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        refuse_unknown_reduction("DistributionFocalLoss", reduction)
        self.reduction = reduction

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scores `[..., steps]` against distances `[...]` from 0 to steps - 1."""
        output = wide(output)
        steps = output.shape[-1]
        distance = target.to(output.dtype).clamp(0, steps - 1)
        below = distance.floor().long().clamp(max=steps - 2)
        share = distance - below
        logs = functional.log_softmax(output, dim=-1)
        near = logs.gather(-1, below.unsqueeze(-1)).squeeze(-1)
        far = logs.gather(-1, (below + 1).unsqueeze(-1)).squeeze(-1)
        return reduced(-(near * (1 - share) + far * share), self.reduction)
