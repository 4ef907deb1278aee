"""The labels of a mixed picture: shares of both, as far as labels can be shared.

A class number becomes a vector with a one at its place; vectors and plain numbers are averaged by
the share of each picture. What has places in the picture (boxes, keypoints) cannot be averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import Sample, sample_name
from cvtrainer.data.transforms.scene import IMAGE_FIELDS

PLACED = ("boxes", "box_labels", "keypoints", "masks")

ChangeField = Callable[[str, Any, Any], Any]
"""From a field's name, its own value and the partner's (None alone) to the new value."""


def picture_name(sample: Sample, who: str) -> str:
    """The field with the picture, which must be a CHW tensor."""
    name = next((name for name in IMAGE_FIELDS if name in sample), None)
    if name is None or not isinstance(sample[name], Tensor) or sample[name].ndim != 3:
        raise UserError(
            f"{who} needs a picture of channels x height x width in field x",
            where=sample_name(sample),
            todo="Give the picture an ImageTensorizer.",
        )
    return name


def with_fields(sample: Sample, partner: Sample | None, change: ChangeField) -> Sample:
    """A copy whose fields, those in `target` too, went through `change`; `meta` stays."""
    out = dict(sample)
    for holder, other in _holders(out, partner):
        for name, value in holder.items():
            if name != "meta" and not isinstance(value, Mapping):
                holder[name] = change(name, value, None if other is None else other.get(name))
    return out


def shared_label(
    who: str, name: str, own: Any, other: Any, share: float, num_classes: int | None
) -> Any:
    """The label of a picture that is `share` its own and the rest its partner's."""
    mine = _as_vector(who, name, own, num_classes)
    if other is None or not isinstance(mine, Tensor):
        return mine
    theirs = _as_vector(who, name, other, num_classes)
    if not isinstance(theirs, Tensor) or theirs.shape != mine.shape:
        raise UserError(f"{who}: field {name} has another shape in its partner")
    return mine * share + theirs * (1.0 - share)


def _holders(out: Sample, partner: Sample | None) -> Iterator[tuple[Sample, Sample | None]]:
    yield out, partner
    if isinstance(out.get("target"), Mapping):
        out["target"] = dict(out["target"])
        yield out["target"], None if partner is None else partner.get("target")


def _as_vector(who: str, name: str, value: Any, num_classes: int | None) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = torch.as_tensor(value)
    if not isinstance(value, Tensor):
        return value
    if name in PLACED or name.startswith("box_"):
        raise UserError(
            f"{who} cannot share field {name} between two pictures",
            todo="Mix such samples with Mosaic.",
        )
    if value.is_floating_point():
        return value.float()
    if value.ndim == 1 and len(value) == num_classes:
        return value.float()
    if value.ndim != 0:
        raise UserError(
            f"{who} cannot share field {name} of shape {tuple(value.shape)} between two pictures",
            todo="Give it a OneHotTensorizer.",
        )
    if num_classes is None:
        raise UserError(
            f"{who} makes a vector of class number {name}, so it needs num_classes",
            todo="Set num_classes, or give the field a OneHotTensorizer.",
        )
    if not 0 <= int(value) < num_classes:
        raise UserError(f"{who}: {name} {int(value)} is outside 0..{num_classes - 1}")
    return functional.one_hot(value.long(), num_classes).float()
