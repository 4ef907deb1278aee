"""Boxes as x1, y1, x2, y2 in input pixels: places, distances, overlap, and what may stay.

Everything is tensors in, tensors out, of sizes known beforehand, so that decoding is a part of an
exported graph and gives there what it gives here.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ROUNDS = 12
"""Suppression settles one link of a chain per round; longer chains of overlaps are not seen."""


def anchor_points(features: Tensor, stride: int) -> Tensor:
    """Centre x, centre y and stride of each place of a map `[N, C, h, w]`, row by row."""
    height, width = features.shape[-2:]
    rows = (torch.arange(height, device=features.device) + 0.5) * stride
    columns = (torch.arange(width, device=features.device) + 0.5) * stride
    y = rows.view(-1, 1).expand(height, width).reshape(-1)
    x = columns.view(1, -1).expand(height, width).reshape(-1)
    return torch.stack((x, y, torch.full_like(x, float(stride))), dim=1)


def mean_distances(distances: Tensor) -> Tensor:
    """Distributions `[..., 4 * bins]` to mean steps `[..., 4]`."""
    bins = distances.shape[-1] // 4
    shares = distances.reshape(*distances.shape[:-1], 4, bins).softmax(dim=-1)
    steps = torch.arange(bins, device=shares.device, dtype=shares.dtype)
    mean: Tensor = (shares * steps).sum(dim=-1)
    return mean


def boxes_around(anchors: Tensor, steps: Tensor) -> Tensor:
    """Boxes `[..., A, 4]` with edges so many strides left, above, right, below of the places."""
    centre, stride = anchors[:, :2], anchors[:, 2:]
    left_top = centre - steps[..., :2] * stride
    right_bottom = centre + steps[..., 2:] * stride
    return torch.cat((left_top, right_bottom), dim=-1)


def steps_to_edges(anchors: Tensor, boxes: Tensor) -> Tensor:
    """The inverse: how many strides the edges of boxes `[..., A, 4]` are away from the places."""
    centre, stride = anchors[:, :2], anchors[:, 2:]
    return torch.cat((centre - boxes[..., :2], boxes[..., 2:] - centre), dim=-1) / stride


def overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of every pair: `[..., N, 4]` and `[..., M, 4]` to `[..., N, M]`."""
    left_top = torch.maximum(boxes[..., :, None, :2], others[..., None, :, :2])
    right_bottom = torch.minimum(boxes[..., :, None, 2:], others[..., None, :, 2:])
    both = (right_bottom - left_top).clamp(min=0).prod(dim=-1)
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)
    areas = (others[..., 2:] - others[..., :2]).clamp(min=0).prod(dim=-1)
    return both / (area[..., :, None] + areas[..., None, :] - both).clamp(min=1e-9)


def reversed_boxes(boxes: Tensor, padding: Tensor | None = None) -> Tensor:
    """Which of `[..., 4]` end before they begin; where padding is true there is none."""
    wrong = (boxes[..., 2:] < boxes[..., :2]).any(dim=-1)
    fits = padding is not None and padding.shape == wrong.shape
    return wrong & ~padding if padding is not None and fits else wrong


def kept_boxes(boxes: Tensor, classes: Tensor, limit: float) -> Tensor:
    """Which of `[N, K, 4]`, best first, no better one of the same class overlaps by more.

    The usual greedy suppression, as rounds over a fixed matrix instead of a loop over boxes: a box
    stays if none of those that stay and are better suppresses it.
    """
    count = boxes.shape[-2]
    better = torch.ones(count, count, dtype=torch.bool, device=boxes.device).tril(-1)
    rivals = (overlap(boxes, boxes) > limit) & (classes[..., :, None] == classes[..., None, :])
    rivals = (rivals & better).to(boxes.dtype)
    kept = torch.ones_like(boxes[..., 0])
    for _ in range(_ROUNDS):
        kept = ((rivals @ kept.unsqueeze(-1)).squeeze(-1) < 0.5).to(boxes.dtype)
    return kept > 0.5
