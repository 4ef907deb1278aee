"""How alike two pictures are: peak signal to noise, and structural similarity.

Structural similarity is Wang et al.'s: local means and variances under a Gaussian window, without
padding, averaged over the picture. All give one value per picture, in float32 or wider.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SIGMA = 1.5
K1, K2 = 0.01, 0.03


def peak_signal_to_noise(made: Tensor, wanted: Tensor, *, data_range: float = 1.0) -> Tensor:
    """Decibels per picture `[N, ...]`; infinite where both are equal."""
    made, wanted = _wide(made), _wide(wanted)
    error = (made - wanted).square().flatten(1).mean(dim=1)
    return 10 * torch.log10(data_range**2 / error)


def structural_similarity(
    made: Tensor, wanted: Tensor, *, data_range: float = 1.0, window: int = 11
) -> Tensor:
    """-1 to 1 per picture `[N, C, H, W]`, 1 where both are equal."""
    # Variances are small differences of large numbers, which half precision has not the digits for.
    with torch.autocast(made.device.type, enabled=False):
        return _structural_similarity(_wide(made), _wide(wanted), data_range, window)


def _structural_similarity(made: Tensor, wanted: Tensor, data_range: float, window: int) -> Tensor:
    channels = made.shape[1]
    kernel = _gaussian(window, made).expand(channels, 1, window, window)

    def blurred(value: Tensor) -> Tensor:
        return functional.conv2d(value, kernel, groups=channels)

    mean_made, mean_wanted = blurred(made), blurred(wanted)
    variance_made = blurred(made * made) - mean_made.square()
    variance_wanted = blurred(wanted * wanted) - mean_wanted.square()
    covariance = blurred(made * wanted) - mean_made * mean_wanted
    small, smaller = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    likeness = (2 * mean_made * mean_wanted + small) * (2 * covariance + smaller)
    spread = (mean_made.square() + mean_wanted.square() + small) * (
        variance_made + variance_wanted + smaller
    )
    return (likeness / spread).flatten(1).mean(dim=1)


def _gaussian(window: int, like: Tensor) -> Tensor:
    places = torch.arange(window, dtype=like.dtype, device=like.device) - (window - 1) / 2
    line = torch.exp(-places.square() / (2 * SIGMA**2))
    line = line / line.sum()
    return torch.outer(line, line)


def _wide(value: Tensor) -> Tensor:
    return value if value.dtype in (torch.float32, torch.float64) else value.float()
