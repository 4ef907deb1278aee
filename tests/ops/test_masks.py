"""Masks from prototypes, cut at boxes, brought to a map's size."""

from __future__ import annotations

import pytest
import torch

from cvtrainer.ops.masks import at_stride, mixed_masks, stride_of, within


def test_a_mask_is_the_sum_of_prototypes() -> None:
    prototypes = torch.stack((torch.eye(3), torch.ones(3, 3)))[None]
    made = mixed_masks(torch.tensor([[[2.0, 0.0], [-1.0, 0.5]]]), prototypes)
    assert torch.equal(made[0, 0], 2 * torch.eye(3))
    assert torch.equal(made[0, 1], 0.5 - torch.eye(3))


def test_places_of_a_box_are_those_whose_middle_it_holds() -> None:
    boxes = torch.tensor([[1.0, 0.0, 3.0, 2.0], [2.6, 1.4, 9.0, 9.0]])
    first, second = within(boxes, 4, 5)
    assert first.nonzero().tolist() == [[0, 1], [0, 2], [1, 1], [1, 2]]
    assert second[1:, 3:].all()
    assert not second[0].any()
    assert not second[:, :2].any()
    assert second[1, 2].logical_not(), "2.5 lies left of 2.6"
    assert within(boxes[:1] * 8, 4, 5, stride=8).equal(within(boxes[:1], 4, 5))


def test_a_map_holds_shares_of_masks_also_at_a_cut_edge() -> None:
    mask = torch.zeros(1, 5, 6, dtype=torch.uint8)
    mask[0, 1:, 4:] = 1
    assert at_stride(mask, 2, 2, 4).tolist() == [[[0.0, 6 / 16], [0.0, 2 / 16]]]
    assert torch.equal(at_stride(mask, 5, 6, 1), mask.float())


@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16])
def test_the_stride_is_known_from_the_sizes(stride: int) -> None:
    for size in range(stride + 1, 300):
        assert stride_of(size, -(-size // stride)) == stride
