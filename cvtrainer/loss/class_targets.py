"""Class numbers as what is wanted of each channel.

With one channel a place belongs to its region, 1, or does not, 0.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from cvtrainer.core.errors import UserError

OF_ONE_CHANNEL = 2
"""So many classes a single channel tells apart."""


def wanted(who: str, output: Tensor, target: Tensor, ignored: int) -> tuple[Tensor, Tensor]:
    """One value for each channel `[N, C, ...]` from numbers `[N, ...]`, and which places count."""
    if target.shape != output.shape[:1] + output.shape[2:]:
        raise UserError(
            f"{who}: the target has the shape {list(target.shape)} and the output "
            f"{list(output.shape)}; give class indices or one value per class"
        )
    counts = target != ignored
    kept = target.long().masked_fill(~counts, 0)
    if output.shape[1] == 1:
        refuse_other_numbers(who, kept)
        values = kept.unsqueeze(1)
    else:
        values = functional.one_hot(kept, output.shape[1]).movedim(-1, 1)
    return values.to(output.dtype), counts


def refuse_other_numbers(who: str, target: Tensor) -> None:
    """Looked at on a host, where it costs nothing; a device would have to be waited for."""
    if target.device.type != "cpu" or not target.numel():
        return
    low, high = (float(end) for end in target.aminmax())
    if low < 0 or high > 1:
        raise UserError(
            f"{who}: the target holds {low if low < 0 else high:g}; give numbers from 0 to 1"
        )
