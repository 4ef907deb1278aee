"""Labels that are no class: counted where they are, and refused as soon as that costs no waiting.

On a host that is with the batch; a device is not waited for, so there it is when numbers are read.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError

NO_CLASS = torch.iinfo(torch.int64).min
"""What a row of values that does not name one class becomes."""
_NO_DISTRIBUTION = 0.1
"""So far from 1 is no sum of shares, however few digits they have."""


def beyond_classes(labels: Tensor, classes: int, counts: Tensor) -> Tensor:
    """Which of the labels that count are none of the classes."""
    return (labels.clamp(0, classes - 1) != labels) & counts


def class_of_rows(who: str, target: Tensor, ignore_index: int) -> Tensor:
    """The class with the highest of the values along dimension 1.

    Rows wholly of `ignore_index` become that number. What names several classes, or none, is
    refused on a host; on a device it is given a number that is no class.
    """
    if target.dtype == torch.bool:
        target = target.to(torch.uint8)
    if target.device.type != "cpu":
        return labels_of_rows(target, ignore_index)[0]
    if not _beside_one(target.sum(dim=1)):
        return target.argmax(dim=1)
    labels, several, nothing = labels_of_rows(target, ignore_index)
    _refuse_rows(who, int(several.sum()), int(nothing.sum()), ignore_index)
    return labels


def labels_of_rows(target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """One number for each row, which rows name several classes, and which name none.

    What has several highest values and is no distribution is many labels at once, or nothing at
    all: to take the first of them would give numbers that mean nothing.
    """
    highest, place = target.max(dim=1)
    ignored = (whole(highest) == ignore_index) & (whole(target.amin(dim=1)) == ignore_index)
    equal = (target == highest.unsqueeze(1)).sum(dim=1) > 1
    unclear = equal & ((target.sum(dim=1) - 1).abs() > _NO_DISTRIBUTION) & ~ignored
    several = unclear & (highest > 0)
    nothing = (unclear & (highest <= 0)) | (highest != highest)
    labels = place.masked_fill(several | nothing, NO_CLASS).masked_fill(ignored, ignore_index)
    return labels, several, nothing


def whole(values: Tensor) -> Tensor:
    """Whole numbers as int64: narrow ones wrap what they are compared with."""
    return values if values.is_floating_point() else values.long()


def _refuse_rows(who: str, several: int, nothing: int, ignore_index: int) -> None:
    if several:
        raise UserError(
            f"{who}: {several} rows of the target name several classes, where one class is "
            "compared",
            todo="For labels of which any number may be right take the meters multi_label, auroc "
            "or average_precision.",
        )
    if nothing:
        raise UserError(
            f"{who}: {nothing} rows of the target name no class",
            todo=f"Fill rows that count for nothing with ignore_index ({ignore_index}), or give "
            "class indices.",
        )


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
