"""Labels that are no class: counted where they are, and refused as soon as that costs no waiting.

On a host that is with the batch; a device is not waited for, so there it is when numbers are read.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError

NO_CLASS = torch.iinfo(torch.int64).min
"""What a row of values that does not name one class becomes."""


def beyond_classes(labels: Tensor, classes: int, counts: Tensor) -> Tensor:
    """Which of the labels that count are none of the classes."""
    return (labels.clamp(0, classes - 1) != labels) & counts


def class_of_rows(who: str, target: Tensor) -> Tensor:
    """The class with the highest of the values along dimension 1.

    What has several highest values, or none, and is no distribution, is many labels at once: to
    take the first of them would give numbers that mean nothing.
    """
    if target.dtype == torch.bool:
        target = target.to(torch.uint8)
    highest, place = target.max(dim=1)
    sums, on_host = target.sum(dim=1), target.device.type == "cpu"
    if on_host and not _beside_one(sums):
        return place
    several = (target == highest.unsqueeze(1)).sum(dim=1) > 1
    unclear = several & ((sums - 1).abs() > _NO_DISTRIBUTION)
    if on_host and bool(unclear.any()):
        raise UserError(
            f"{who}: {int(unclear.sum())} rows of the target name several classes or none, where "
            "one class is compared",
            todo="For labels of which any number may be right take the meters multi_label, auroc "
            "or average_precision.",
        )
    return torch.where(unclear, NO_CLASS, place)


def _beside_one(sums: Tensor) -> bool:
    """Whether any is no sum of shares; one look at all of them, as most are one-hot."""
    if not sums.numel():
        return False
    low, high = (float(end) for end in sums.aminmax())
    return not (low >= 1 - _NO_DISTRIBUTION and high <= 1 + _NO_DISTRIBUTION)


def refuse_on_host(who: str, beyond: Tensor, classes: int, ignore_index: int) -> None:
    """Refuse so many labels now, unless a device would have to be waited for."""
    if beyond.device.type == "cpu":
        refuse_beyond(who, int(beyond), classes, ignore_index)


def refuse_beyond(who: str, beyond: int, classes: int, ignore_index: int) -> None:
    """Refuse so many labels that are none of the classes."""
    if beyond:
        of = f"{classes} classes" if classes else "classes"  # unknown where only a state was read
        raise UserError(
            f"{who}: {beyond} labels are none of the output's {of}, nor ignore_index "
            f"({ignore_index})",
            todo="Correct the labels, or set ignore_index to the number that counts for "
            "nothing; rows of values have to name one class.",
        )


_NO_DISTRIBUTION = 0.1
"""So far from 1 is no sum of shares, however few digits they have."""
