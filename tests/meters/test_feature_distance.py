"""Fréchet's distance between sets of pictures."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.meters import FeatureDistanceMeter
from cvtrainer.ops.frechet import frechet_distance


def pictures(count: int, shift: float = 0.0, *, seed: int = 0) -> Tensor:
    drawn = torch.Generator().manual_seed(seed)
    return torch.rand(count, 3, 16, 16, generator=drawn) * 0.5 + shift


def measured(made: Tensor, real: Tensor) -> float:
    meter = FeatureDistanceMeter()
    meter.update(made, real)
    return meter.compute()["feature_distance"]


def test_the_distance_is_that_of_the_formula() -> None:
    """Diagonal covariances have a closed form; others equal scipy's matrix root."""
    one, other = torch.tensor([4.0, 9.0]), torch.tensor([1.0, 1.0])
    mean = torch.tensor([1.0, 2.0])
    found = frechet_distance(mean, one.diag(), torch.zeros(2), other.diag())
    assert float(found) == pytest.approx(5 + (2 - 1) ** 2 + (3 - 1) ** 2)

    linalg = pytest.importorskip("scipy.linalg")
    drawn = torch.Generator().manual_seed(0)
    a, b = (torch.randn(40, 6, generator=drawn).double() for _ in range(2))
    a, b = torch.cov(a.T), torch.cov((b * 2).T)
    root = linalg.sqrtm((a @ b).numpy()).real
    expected = float((a.trace() + b.trace()) - 2 * root.trace())
    assert float(frechet_distance(torch.zeros(6), a, torch.zeros(6), b)) == pytest.approx(expected)


def test_like_sets_are_near_and_unlike_ones_far() -> None:
    real = pictures(64)
    assert measured(real, real) == pytest.approx(0, abs=1e-6)
    near = measured(pictures(64, seed=1), real)
    assert 0 < near < measured(pictures(64, 0.1, seed=1), real)
    assert measured(pictures(64, 0.1, seed=1), real) < measured(pictures(64, 0.4, seed=1), real)


def test_one_picture_again_and_again_is_far() -> None:
    """A maker that always makes the same is told from one that makes many."""
    real = pictures(64)
    assert measured(real[:1].expand(64, -1, -1, -1), real) > 2 * measured(
        pictures(64, seed=1), real
    )


def test_blocks_and_ranks_add_up() -> None:
    made, real = pictures(30, 0.1, seed=1), pictures(30)
    parts = [FeatureDistanceMeter(), FeatureDistanceMeter()]
    for place in range(0, 30, 6):
        parts[place // 6 % 2].update(made[place : place + 6], real[place : place + 6])
    whole = FeatureDistanceMeter()
    whole.merge([part.state_dict() for part in parts])
    assert whole.compute()["feature_distance"] == pytest.approx(measured(made, real), rel=1e-6)


def test_nothing_before_the_second_picture() -> None:
    meter = FeatureDistanceMeter()
    assert meter.compute() == {}
    meter.update(pictures(1), pictures(1))
    assert meter.compute() == {}
    with pytest.raises(UserError, match="of one size"):
        meter.update(pictures(2), pictures(2)[:, :, :8])
