"""Likeness of pictures: the formulas, worked out the long way."""

from __future__ import annotations

import math

import pytest
import torch

from cvtrainer.ops.similarity import peak_signal_to_noise, structural_similarity


def pictures(seed: int, size: int = 24) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.seed("S4-78", "S3-57")
def test_peak_signal_to_noise_is_the_formula() -> None:
    made, wanted = pictures(1), pictures(2)
    for number, found in enumerate(peak_signal_to_noise(made, wanted, data_range=1.0).tolist()):
        error = float((made[number] - wanted[number]).double().square().mean())
        assert found == pytest.approx(-10 * math.log10(error), rel=1e-5)
    louder = peak_signal_to_noise(255 * made, 255 * wanted, data_range=255.0)
    torch.testing.assert_close(louder, peak_signal_to_noise(made, wanted))
    assert torch.isinf(peak_signal_to_noise(made, made)).all()


@pytest.mark.seed("S4-78")
def test_structural_similarity_is_the_formula() -> None:
    """Window by window, in double precision."""
    made, wanted = pictures(1, 14).double(), (pictures(1, 14) + 0.2 * pictures(3, 14)).double()
    places = torch.arange(11.0, dtype=torch.float64) - 5
    line = torch.exp(-places.square() / (2 * 1.5**2))
    window = torch.outer(line, line) / line.sum() ** 2
    for number, found in enumerate(structural_similarity(made, wanted).tolist()):
        values = []
        for channel in range(3):
            for top in range(4):
                for left in range(4):
                    a = made[number, channel, top : top + 11, left : left + 11]
                    b = wanted[number, channel, top : top + 11, left : left + 11]
                    mean_a, mean_b = (window * a).sum(), (window * b).sum()
                    var_a = (window * (a - mean_a) ** 2).sum()
                    var_b = (window * (b - mean_b) ** 2).sum()
                    both = (window * (a - mean_a) * (b - mean_b)).sum()
                    values.append(
                        (2 * mean_a * mean_b + 1e-4)
                        * (2 * both + 9e-4)
                        / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))
                    )
        assert found == pytest.approx(float(sum(values)) / len(values), abs=1e-9)


def test_structural_similarity_knows_its_ends() -> None:
    made = pictures(5)
    torch.testing.assert_close(structural_similarity(made, made), torch.ones(2))
    assert (structural_similarity(made, 1 - made) < 0).all()
    assert structural_similarity(made.half(), made.half()).dtype == torch.float32


def test_mixed_precision_leaves_the_value_as_it_is() -> None:
    """Bright pictures of little contrast, whose variances bfloat16 cannot hold."""
    made = pictures(1, 32) * 0.2 + 0.7
    wanted = made + 0.02 * (pictures(3, 32) - 0.5)
    expected = structural_similarity(made, wanted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = structural_similarity(made, wanted)
    assert torch.equal(found, expected)
