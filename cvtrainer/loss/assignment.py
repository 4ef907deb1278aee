"""Which places of a detector answer for which object: task-aligned assignment.

A place is fit for an object if it lies inside of it and its score and its box agree with it; an
object smaller than the steps between places counts as large as such a step, so that each map has a
place for it. The `count` fittest places of each object answer for it, a place fit for several for
the one that it overlaps most. What a place shall score is its fitness on the scale of its object's
best overlap.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from cvtrainer.ops.boxes import overlap

_SMALLEST = 1e-30
"""Nothing is divided by less; the sixth power of the first, bad overlaps is tiny."""


class Assigned(NamedTuple):
    """For each place `[N, A]`: whether it answers, its box, what each class shall score, and the
    number of the box."""

    answers: Tensor
    boxes: Tensor
    scores: Tensor
    owners: Tensor


@torch.no_grad()
def assign(
    shares: Tensor,
    made: Tensor,
    anchors: Tensor,
    boxes: Tensor,
    labels: Tensor,
    there: Tensor,
    *,
    count: int = 10,
    score_power: float = 0.5,
    overlap_power: float = 6.0,
) -> Assigned:
    """`shares` `[N, A, C]` and `made` `[N, A, 4]` against `boxes` `[N, M, 4]`, where `there`."""
    classes = shares.shape[-1]
    if not boxes.shape[1]:
        return Assigned(
            torch.zeros(shares.shape[:2], dtype=torch.bool, device=shares.device),
            torch.zeros_like(made),
            torch.zeros_like(shares),
            torch.zeros(shares.shape[:2], dtype=torch.long, device=shares.device),
        )
    of_label = shares.transpose(1, 2).gather(
        1, labels.clamp(min=0).unsqueeze(-1).expand(-1, -1, shares.shape[1])
    )
    overlaps = overlap(boxes, made)
    fit = of_label.pow(score_power) * overlaps.pow(overlap_power)
    possible = _inside(anchors, boxes) & there.unsqueeze(-1)
    # Below zero what is not possible: a place inside is taken even if its box is all wrong yet.
    fit, place = fit.masked_fill(~possible, -1.0).topk(min(count, fit.shape[-1]), dim=-1)
    claim = _Claims(place, fit, overlaps.gather(-1, place)).settled(shares.shape[1])
    kinds = functional.one_hot(labels.clamp(min=0).gather(1, claim.owner), classes)
    return Assigned(
        claim.answers,
        boxes.gather(1, claim.owner.unsqueeze(-1).expand(-1, -1, 4)),
        kinds * claim.strength.unsqueeze(-1),
        claim.owner,
    )


class _Settled(NamedTuple):
    """For each place `[N, A]`: whether it has an owner, which object, and how strongly."""

    answers: Tensor
    owner: Tensor
    strength: Tensor


class _Claims(NamedTuple):
    """Of each object `[N, M, K]`: places it could have, their fitness (below 0: none), overlaps."""

    place: Tensor
    fit: Tensor
    overlaps: Tensor

    def settled(self, places: int) -> _Settled:
        """Each place for the object it overlaps most; work is on claims, not on all pairs."""
        many, objects, _ = self.place.shape
        place = self.place.flatten(1)
        mine = (self.fit >= 0).flatten(1)
        overlaps = torch.where(mine, self.overlaps.flatten(1), -1.0)
        most = overlaps.new_full((many, places), -1.0).scatter_reduce(1, place, overlaps, "amax")
        mine &= overlaps >= most.gather(1, place)
        numbers = torch.arange(objects, device=place.device).repeat_interleave(self.place.shape[2])
        # Of two that a place overlaps alike the first has it.
        owner = torch.full_like(most, objects, dtype=torch.long).scatter_reduce(
            1, place, torch.where(mine, numbers, objects), "amin"
        )
        mine = (mine & (owner.gather(1, place) == numbers)).view_as(self.fit)
        fit, overlap = self.fit * mine, self.overlaps * mine
        fittest = fit.amax(dim=-1, keepdim=True).clamp(min=_SMALLEST)
        strong = fit * (overlap.amax(dim=-1, keepdim=True) / fittest)
        strength = torch.zeros_like(most).scatter_reduce(1, place, strong.flatten(1), "amax")
        return _Settled(owner < objects, owner.clamp(max=objects - 1), strength)


def _inside(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Whether places `[A]` lie inside of boxes `[N, M]` or on their edges."""
    x, y, stride = anchors.unbind(dim=1)
    left, top, right, bottom = (edge.unsqueeze(-1) for edge in boxes.unbind(-1))
    from_x = (x - (left + right) / 2).abs() * 2
    from_y = (y - (top + bottom) / 2).abs() * 2
    return (from_x <= (right - left).clamp(min=stride)) & (
        from_y <= (bottom - top).clamp(min=stride)
    )
