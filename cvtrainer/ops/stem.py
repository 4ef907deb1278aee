"""A first layer's filters for pictures with another number of channels."""

from __future__ import annotations

import torch
from torch import Tensor


def fitted_filters(filters: Tensor, channels: int) -> Tensor:
    """Filters `[K, C, ...]` as `[K, channels, ...]`; a picture that is the same in all its channels
    gets the answer it had.

    For fewer channels each gets an even share of the sum over the old ones, so a single one gets
    the sum. For more the old ones are repeated in turn, each divided by how often it occurs.
    """
    given = filters.shape[1]
    if channels < given:
        shared = filters.sum(dim=1, keepdim=True) / channels
        return shared.expand(-1, channels, *filters.shape[2:]).clone()
    times = [len(range(place, channels, given)) for place in range(given)]
    turns = [place % given for place in range(channels)]
    return torch.stack([filters[:, turn] / times[turn] for turn in turns], dim=1)
