"""Hills at the right places: what the keypoint task reads from them is what was put in."""

from __future__ import annotations

import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.loss import HeatmapLoss
from cvtrainer.tasks import Keypoints

POINTS = torch.tensor([[[10.0, 22.0, 2.0], [33.5, 7.0, 1.0], [0.0, 0.0, 0.0]]])


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_hills_stand_where_the_task_finds_them(stride: int) -> None:
    loss = HeatmapLoss(stride=stride)
    hills = loss.hills(POINTS, 48 // stride, 64 // stride)
    found = Keypoints(stride=stride).decode({"output": hills})["keypoints"]
    assert (found[0, :2, :2] - POINTS[0, :2, :2]).abs().max() <= 0.3 * stride
    assert float(loss(hills, POINTS)) == 0
    moved = hills.roll(1, dims=3)
    assert float(loss(moved, POINTS)) > 0.1


def test_points_that_are_not_there_do_not_count() -> None:
    loss = HeatmapLoss()
    maps = loss.hills(POINTS, 12, 16)
    maps[:, 2] = 5.0
    assert float(loss(maps, POINTS)) == 0
    assert float(loss(maps, POINTS[..., :2])) > 0
    each = HeatmapLoss(reduction="none")(torch.zeros_like(maps), POINTS)
    assert each.shape == (1, 3)
    assert float(each[0, 2]) == 0
    mean = HeatmapLoss()(torch.zeros_like(maps), POINTS)
    torch.testing.assert_close(mean, each.sum() / 2)
    nobody = torch.zeros(1, 3, 3)
    assert float(loss(maps, nobody)) == 0


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(UserError, match=r"points \[N, K, 2\]"):
        HeatmapLoss()(torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 3))
    with pytest.raises(UserError, match="sigma 0"):
        HeatmapLoss(sigma=0)
