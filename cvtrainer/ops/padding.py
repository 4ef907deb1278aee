"""Values along one axis of which only some are real: [N, C, L] beside a padding [N, L].

The padding is true where nothing real stands, as collate says it; None means that all is real.
"""

from __future__ import annotations

import torch
from torch import Tensor


def without_padding(values: Tensor, padding: Tensor | None) -> Tensor:
    """The same with zeros where nothing real stands, so that convolutions see an end there."""
    if padding is None:
        return values
    return values * (~padding).unsqueeze(1).to(values.dtype)


def real_mean(values: Tensor, padding: Tensor | None) -> Tensor:
    """[N, C]: the mean over what is real."""
    if padding is None:
        return values.mean(dim=2)
    real = (~padding).to(values.dtype).sum(dim=1, keepdim=True).clamp(min=1)
    return without_padding(values, padding).sum(dim=2) / real


def real_max(values: Tensor, padding: Tensor | None) -> Tensor:
    """[N, C]: the largest of what is real; zero where nothing is."""
    if padding is None:
        return values.amax(dim=2)
    lowest = torch.finfo(values.dtype).min
    largest = values.masked_fill(padding.unsqueeze(1), lowest).amax(dim=2)
    return torch.where(padding.all(dim=1, keepdim=True), torch.zeros_like(largest), largest)
