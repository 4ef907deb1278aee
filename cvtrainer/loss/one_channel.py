"""Targets of an output with one channel: a place belongs to its region, 1, or does not, 0."""

from __future__ import annotations

from torch import Tensor

from cvtrainer.core.errors import UserError

CLASSES = 2
"""What one channel tells apart."""


def refuse_other_numbers(who: str, target: Tensor) -> None:
    """Looked at on a host, where it costs nothing; a device would have to be waited for."""
    if target.device.type != "cpu" or not target.numel():
        return
    low, high = (float(end) for end in target.aminmax())
    if low < 0 or high > 1:
        raise UserError(
            f"{who}: the target holds {low if low < 0 else high:g}; give numbers from 0 to 1"
        )
