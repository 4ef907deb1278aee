"""Histograms that grow, and the ranges that each calibrator finds in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cvtrainer.core.errors import UserError
from cvtrainer.deploy.quantize.calibrators import CALIBRATORS, Span, span_of
from cvtrainer.deploy.quantize.histogram import Histogram


def histogram_of(*parts: torch.Tensor) -> Histogram:
    made = Histogram()
    for part in parts:
        made.add(part)
    return made


def normal(count: int = 400_000, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def test_a_histogram_that_grew_counts_what_one_pass_counts() -> None:
    values = normal(20_000)
    small, large = values * 0.1, values * 3
    grown = histogram_of(small, large)
    assert grown.counts.sum() == 40_000
    assert grown.low == float(large.min())
    assert grown.high == float(large.max())
    whole = np.histogram(
        torch.cat((small, large)).numpy(), len(grown.counts), (-grown.reach, grown.reach)
    )[0]
    moved = np.abs(grown.counts - whole).sum() / 2
    assert moved / 40_000 < 0.001  # values on a border of bins
    assert grown.reach < 2 * float(large.abs().max())


def test_zeros_and_what_is_not_finite() -> None:
    made = histogram_of(torch.zeros(5), torch.tensor([float("nan"), float("inf"), 2.0]))
    assert made.counts.sum() == 6
    assert (made.low, made.high) == (0.0, 2.0)
    assert span_of(histogram_of(torch.zeros(3)), "mse") == Span(0.0, 0.0)
    assert span_of(Histogram(), "entropy") == Span(0.0, 0.0)


def test_max_keeps_everything() -> None:
    values = torch.tensor([-0.5, 3.0, 1.0])
    assert span_of(histogram_of(values), "max") == Span(-0.5, 3.0)
    assert span_of(histogram_of(values + 10), "max") == Span(0.0, 13.0)


@pytest.mark.parametrize("method", CALIBRATORS)
def test_evenly_spread_values_keep_their_range(method: str) -> None:
    values = torch.linspace(-1, 1, 200_001)
    span = span_of(histogram_of(values), method)
    assert span.low == pytest.approx(-1, abs=0.03)
    assert span.high == pytest.approx(1, abs=0.03)


@pytest.mark.seed("S4-83")
def test_the_least_squared_error_of_a_normal_distribution_is_the_known_one() -> None:
    """Clipping at 3.92 deviations is the published optimum for 8 bits of a normal distribution."""
    values = normal(2_000_000).clamp(-8, 8)
    values[0], values[1] = -8.0, 8.0
    span = span_of(histogram_of(values), "mse")
    assert span.high == pytest.approx(3.92, abs=0.25)
    assert span.low == pytest.approx(-3.92, abs=0.25)


def test_a_percentile_is_that_of_the_values() -> None:
    values = normal()
    span = span_of(histogram_of(values), "percentile", percentile=99)
    low, high = np.quantile(values.numpy(), [0.005, 0.995])
    assert span.low == pytest.approx(low, abs=0.02)
    assert span.high == pytest.approx(high, abs=0.02)


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_one_outlier_does_not_set_the_range(method: str) -> None:
    values = torch.cat((normal(1_000_000), torch.tensor([100.0])))
    histogram = histogram_of(values)
    assert span_of(histogram, "max").high == 100
    span = span_of(histogram, method)
    assert span.high < 80
    assert span.low < -3  # the other end is not cut for it


def test_the_squared_error_is_the_least_of_all_candidates() -> None:
    values = torch.cat((normal(50_000), 20 * normal(50, seed=1)))
    histogram = histogram_of(values)
    span = span_of(histogram, "mse")

    def error(low: float, high: float) -> float:
        step = (high - low) / 255
        rounded = ((values - low) / step).round().clamp(0, 255) * step + low
        return float((values - rounded).square().mean())

    best = error(*span)
    largest = max(-histogram.low, histogram.high)
    for share in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0):
        end = share * largest
        assert best <= 1.05 * error(max(histogram.low, -end), min(histogram.high, end))


def test_a_rounding_around_zero_has_half_of_its_levels_for_values_above_it() -> None:
    values = normal().abs()
    histogram = histogram_of(values)
    ends = {symmetric: span_of(histogram, "mse", symmetric=symmetric) for symmetric in (0, 1)}
    assert ends[0].low == ends[1].low == 0

    def error(end: float) -> float:
        rounded = torch.clamp(torch.round(values / (end / 127)), -127, 127) * (end / 127)
        return float(((rounded - values) ** 2).mean())

    assert ends[1].high < ends[0].high
    assert error(ends[1].high) < error(ends[0].high)
    below = histogram_of(-values, values * 0.1)
    assert span_of(below, "mse", symmetric=True).low == pytest.approx(-ends[1].high, rel=0.05)
    for method in CALIBRATORS:
        assert 2 < span_of(histogram, method, symmetric=True).high < 6


def test_values_from_zero_up_keep_zero_as_their_end() -> None:
    values = normal(100_000).relu()
    for method in CALIBRATORS:
        span = span_of(histogram_of(values), method)
        assert span.low == 0.0
        assert 2 < span.high <= float(values.max())


@pytest.mark.parametrize("method", CALIBRATORS)
def test_zeros_of_a_relu_do_not_narrow_the_range(method: str) -> None:
    values = torch.cat((torch.zeros(300_000), torch.linspace(0, 4, 20_000)))
    assert span_of(histogram_of(values), method).high > 3.5


def test_what_is_not_known_is_told() -> None:
    with pytest.raises(UserError, match="no calibrator 'magic'"):
        span_of(Histogram(), "magic")
    with pytest.raises(UserError, match="percentile is 20"):
        span_of(Histogram(), "percentile", percentile=20)
