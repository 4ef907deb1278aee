"""The loss of objects with masks: the detector's own, that of each mask, that of all as one.

The places that answer best for an object are asked for its mask, and only inside of its box, each
object counting alike whatever its size.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.loss.assignment import Assigned
from cvtrainer.loss.detection import DetectionLoss
from cvtrainer.ops.masks import at_stride, stride_of, within


class InstanceLoss(nn.Module):
    """Takes an instance head's outputs, and the boxes, labels and masks of a batch.

    `detection` is the loss of boxes and classes. Masks count `masks` times, half by cross entropy,
    half by Dice; what is inside of any object counts `inside` times. `places` answer for a mask.
    """

    CLASS_NUMBERS: ClassVar[dict[str, str]] = DetectionLoss.CLASS_NUMBERS
    BOX_CORNERS: ClassVar[tuple[str, ...]] = DetectionLoss.BOX_CORNERS

    def __init__(
        self,
        detection: nn.Module | None = None,
        masks: float = 4.0,
        inside: float = 1.0,
        places: int = 3,
    ) -> None:
        super().__init__()
        if places < 1:
            raise UserError(f"InstanceLoss: places is {places}; give 1 or more")
        found = DetectionLoss() if detection is None else detection
        if not isinstance(found, DetectionLoss):
            raise UserError(
                f"InstanceLoss: detection is {type(found).__name__}; give a detection_loss"
            )
        self.detection = found
        self.masks = masks
        self.inside = inside
        self.places = places

    def forward(
        self,
        scores: Tensor,
        distances: Tensor,
        anchors: Tensor,
        coefficients: Tensor,
        prototypes: Tensor,
        inside: Tensor,
        boxes: Tensor,
        box_labels: Tensor,
        boxes_padding: Tensor,
        masks: Tensor,
    ) -> dict[str, Tensor]:
        """Boxes `[N, M, 4]` in input pixels, masks `[N, M, H, W]`; padding where there is none."""
        if masks.shape[:2] != boxes.shape[:2] or masks.shape[-2:] != inside.shape[-2:]:
            raise UserError(
                f"masks have the shape {list(masks.shape)}, boxes {list(boxes.shape)}, the input "
                f"is {list(inside.shape[-2:])}",
                where="field masks",
                todo="Give one mask per box, as large as the input.",
            )
        wanted = self.detection.wanted(scores, distances, anchors, boxes, box_labels, boxes_padding)
        parts = self.detection.compared(scores, distances, anchors, wanted)
        total = parts.pop("loss")
        there = ~boxes_padding
        shapes = self._of_masks(wanted, coefficients, prototypes, boxes, masks, there)
        union = (masks.ne(0) & there[..., None, None]).any(dim=1, keepdim=True)
        parts["masks"] = self.masks * shapes
        parts["inside"] = self.inside * _of_region(inside.float(), union.to(inside.dtype))
        return {"loss": total + parts["masks"] + parts["inside"], **parts}

    def _of_masks(
        self,
        wanted: Assigned,
        coefficients: Tensor,
        prototypes: Tensor,
        boxes: Tensor,
        masks: Tensor,
        there: Tensor,
    ) -> Tensor:
        picture, place, owner = best_places(wanted, there.shape[1], self.places)
        if not len(picture):
            return 0.0 * (coefficients.sum() + prototypes.sum())
        height, width = prototypes.shape[-2:]
        stride = stride_of(masks.shape[-1], width)
        flat = prototypes.float().flatten(2)
        asked = coefficients.float()[picture, place]
        made = torch.cat([asked[picture == number] @ one for number, one in enumerate(flat)])
        made = made.float().reshape(-1, height, width)  # a product may be of half precision
        kept = at_stride(masks[there], height, width, stride)
        number = (there.flatten().cumsum(0) - 1).view_as(there)[picture, owner]
        counts = within(boxes.float()[picture, owner], height, width, stride).to(made.dtype)
        return _in_boxes(made, kept[number], counts)


def best_places(wanted: Assigned, most: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Picture, place and owner of the `count` places that answer best for each box; the pictures
    in their order. `most` boxes has a picture."""
    picture, place = wanted.answers.nonzero(as_tuple=True)
    owner = wanted.owners[picture, place]
    order = wanted.scores[picture, place].sum(dim=-1).argsort(descending=True, stable=True)
    whose = (picture * most + owner)[order]
    whose, again = whose.sort(stable=True)
    order = order[again]
    rank = torch.arange(len(whose), device=whose.device) - torch.searchsorted(whose, whose)
    chosen = order[rank < count]
    return picture[chosen], place[chosen], owner[chosen]


def _in_boxes(scores: Tensor, wanted: Tensor, counts: Tensor) -> Tensor:
    """Mean over objects of cross entropy and Dice, of the places inside of their boxes."""
    each = functional.binary_cross_entropy_with_logits(scores, wanted, reduction="none")
    places = (1, 2)
    entropy = (each * counts).sum(places) / counts.sum(places).clamp(min=1)
    return 0.5 * entropy.mean() + 0.5 * _dice(scores.sigmoid() * counts, wanted * counts).mean()


def _of_region(scores: Tensor, wanted: Tensor) -> Tensor:
    entropy = functional.binary_cross_entropy_with_logits(scores, wanted)
    return 0.5 * entropy + 0.5 * _dice(scores.sigmoid()[:, 0], wanted[:, 0]).mean()


def _dice(shares: Tensor, wanted: Tensor) -> Tensor:
    """One minus the Dice coefficient of each pair `[P, h, w]`."""
    both, each = (shares * wanted).sum((1, 2)), (shares + wanted).sum((1, 2))
    return 1 - (2 * both + 1) / (each + 1)
