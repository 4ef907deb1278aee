"""Boxes: places and distances there and back, overlap and suppression as torchvision has them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision import ops

from cvtrainer.ops.boxes import (
    anchor_points,
    boxes_around,
    kept_boxes,
    mean_distances,
    overlap,
    steps_to_edges,
)


def drawn_boxes(count: int, seed: int, size: float = 100.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * size
    return torch.cat((corner, corner + 5 + torch.rand(count, 2, generator=generator) * 40), dim=1)


def test_places_are_the_centres_row_by_row() -> None:
    places = anchor_points(torch.zeros(1, 4, 2, 3), 8)
    assert places.tolist() == [
        [4.0, 4.0, 8.0],
        [12.0, 4.0, 8.0],
        [20.0, 4.0, 8.0],
        [4.0, 12.0, 8.0],
        [12.0, 12.0, 8.0],
        [20.0, 12.0, 8.0],
    ]


def test_distances_lead_there_and_back() -> None:
    places = anchor_points(torch.zeros(1, 1, 4, 4), 16)
    boxes = drawn_boxes(16, 1, 40.0)[None]
    torch.testing.assert_close(boxes_around(places, steps_to_edges(places, boxes)), boxes)
    certain = torch.full((1, 4, 8), -50.0)
    for edge, step in enumerate((0, 3, 7, 2)):
        certain[0, edge, step] = 50.0
    found = mean_distances(certain.flatten(1))
    torch.testing.assert_close(found, torch.tensor([[0.0, 3.0, 7.0, 2.0]]))


def test_overlap_is_the_reference() -> None:
    one, other = drawn_boxes(20, 1), drawn_boxes(30, 2)
    torch.testing.assert_close(overlap(one, other), ops.box_iou(one, other))
    assert overlap(one[:0], other).shape == (0, 30)
    assert (overlap(torch.zeros(1, 4), torch.zeros(1, 4)) == 0).all()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("limit", [0.3, 0.6])
def test_suppression_is_the_greedy_one(seed: int, limit: float) -> None:
    boxes = drawn_boxes(300, seed)
    classes = torch.randint(0, 3, (300,), generator=torch.Generator().manual_seed(seed))
    expected = torch.zeros(300, dtype=torch.bool)
    expected[ops.batched_nms(boxes, torch.linspace(1, 0.01, 300), classes, limit)] = True
    assert torch.equal(kept_boxes(boxes, classes, limit), expected)


def test_pictures_do_not_suppress_each_other() -> None:
    boxes = torch.stack((drawn_boxes(40, 1), drawn_boxes(40, 2)))
    classes = torch.zeros(2, 40, dtype=torch.long)
    both = kept_boxes(boxes, classes, 0.5)
    for picture in range(2):
        assert torch.equal(both[picture], kept_boxes(boxes[picture], classes[picture], 0.5))
