"""Hills at the right places: what the keypoint task reads from them is what was put in."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.loss import HeatmapLoss
from cvtrainer.tasks import Keypoints

POINTS = torch.tensor([[[10.0, 22.0, 2.0], [33.5, 7.0, 1.0], [0.0, 0.0, 0.0]]])


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_hills_stand_where_the_task_finds_them(stride: int) -> None:
    loss = HeatmapLoss(stride=stride, kind="squares")
    hills = loss.hills(POINTS, 48 // stride, 64 // stride)
    found = Keypoints(stride=stride).decode({"output": hills})["keypoints"]
    assert (found[0, :2, :2] - POINTS[0, :2, :2]).abs().max() <= 0.3 * stride
    assert float(loss(hills, POINTS)) == 0
    moved = hills.roll(1, dims=3)
    assert float(loss(moved, POINTS)) > 0.1
    shares = HeatmapLoss(stride=stride)
    scores = (hills + 1e-12).log() + 7
    assert float(shares(scores, POINTS)) == pytest.approx(0, abs=1e-4)
    assert float(shares(scores.roll(1, dims=3), POINTS)) > 0.1
    sure = Keypoints(stride=stride, softmax=True).decode({"output": scores})["keypoints"]
    torch.testing.assert_close(sure[..., :2], found[..., :2])
    assert (sure[0, :2, 2] < 0.3).all()


@pytest.mark.parametrize("kind", ["entropy", "squares"])
def test_points_that_are_not_there_do_not_count(kind: Any) -> None:
    maps = torch.zeros(1, 3, 12, 16)
    each = HeatmapLoss(kind=kind, reduction="none")(maps, POINTS)
    assert each.shape == (1, 3)
    assert float(each[0, 2]) == 0
    assert (each[0, :2] > 0).all()
    loss = HeatmapLoss(kind=kind)
    torch.testing.assert_close(loss(maps, POINTS), each.sum() / 2)
    assert float(loss(maps, POINTS[..., :2])) != pytest.approx(float(loss(maps, POINTS)))
    assert float(loss(maps, torch.zeros(1, 3, 3))) == 0, "nobody is there"
    assert torch.isfinite(loss(maps, torch.full((1, 3, 3), 1e4))), "far outside of the picture"


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(UserError, match=r"points \[N, K, 2\]"):
        HeatmapLoss()(torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 3))
    with pytest.raises(UserError, match="sigma 0"):
        HeatmapLoss(sigma=0)
    with pytest.raises(UserError, match="kind is 'hill'"):
        HeatmapLoss(kind="hill")  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["entropy", "squares"])
def test_points_without_numbers_do_not_count(kind: Any) -> None:
    maps = torch.zeros(1, 2, 8, 8, requires_grad=True)
    nowhere = torch.tensor([[[float("nan"), float("nan")], [10.0, 10.0]]])
    loss = HeatmapLoss(kind=kind)(maps, nowhere)
    torch.testing.assert_close(loss, HeatmapLoss(kind=kind)(maps[:, 1:], nowhere[:, 1:]))
    (gradient,) = torch.autograd.grad(loss, maps)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("size", [(32, 48), (30, 47)])
def test_a_stride_that_is_not_that_of_the_maps_is_told(size: tuple[int, int]) -> None:
    pictures, maps = torch.zeros(1, 3, *size), torch.zeros(1, 3, 8, 12)
    loss = HeatmapLoss(stride=4)(maps, POINTS, pictures)
    torch.testing.assert_close(loss, HeatmapLoss(stride=4)(maps, POINTS))
    for stride in (2, 8):
        with pytest.raises(UserError, match=rf"maps of \[8, 12\] with a stride of {stride}"):
            HeatmapLoss(stride=stride)(maps, POINTS, pictures)
