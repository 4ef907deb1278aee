"""How far apart two normal distributions are: Fréchet's distance between them."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(
    mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor
) -> Tensor:
    """Squared: 0 where both are equal. Means `[D]`, covariances `[D, D]`, in double precision.

    The square root of the product is taken of its symmetric form, so covariances of fewer samples
    than features do no harm.
    """
    one, other = covariance.double(), other_covariance.double()
    values, vectors = torch.linalg.eigh(one)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ other @ root).clamp(min=0).sqrt().sum()
    apart = (mean.double() - other_mean.double()).square().sum()
    distance: Tensor = apart + one.trace() + other.trace() - 2 * shared
    return distance.clamp(min=0)
