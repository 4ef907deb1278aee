"""Targets that are class numbers: there must be a score for each of them.

Looked at with the first batch, and again where a later one could not be compared. A batch that is
bound for a device is looked at while it is on the host, because a device tells too late and badly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.binding import Key, getter
from cvtrainer.engine.blame import sample_at
from cvtrainer.protocols import Batch

_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)

NAMED_BY_DATA = ("class_id", "box_labels")
"""Fields whose numbers stand for the classes that a data set names."""


class ClassNumbers(NamedTuple):
    """A field of class numbers, and how many classes there are scores for."""

    key: Key
    classes: int
    ignored: int | None

    @property
    def field(self) -> str:
        return name_of(self.key)


def declared_numbers(
    module: nn.Module, keys: Mapping[str, Key], fields: Mapping[str, Any]
) -> list[ClassNumbers]:
    """The fields that it says are class numbers, in a class attribute `CLASS_NUMBERS`: from such
    parameters to that of the scores, whose last dimension is the classes, or to an attribute of its
    own with their number."""
    said: Mapping[str, str] = getattr(module, "CLASS_NUMBERS", {})
    found = []
    for name, of in said.items():
        classes = _classes(module, of, keys, fields)
        if classes is not None and name in keys and _whole(getter(keys[name])(fields)):
            found.append(ClassNumbers(keys[name], classes, None))
    return found


def class_numbers(
    module: nn.Module, keys: Mapping[str, Key], fields: Mapping[str, Any], *, least: int = 2
) -> list[ClassNumbers]:
    """The fields that this criterion takes for class numbers of its scores.

    It says so itself; or it has an `ignore_index` and gets whole numbers, one for each place of
    scores `[N, C, ...]`; `OF_ONE_CHANNEL` says how many classes a single channel tells apart.
    """
    values = {name: getter(key)(fields) for name, key in keys.items()}
    found = declared_numbers(module, keys, fields)
    ignored = getattr(module, "ignore_index", None)
    if ignored is None or len(values) < 2:
        return found
    scores, *targets = values.items()
    given = scores[1]
    if not isinstance(given, Tensor) or not given.is_floating_point() or given.ndim < 2:
        return found
    classes = int(given.shape[1])
    classes = int(getattr(module, "OF_ONE_CHANNEL", 1)) if classes == 1 else classes
    for name, value in targets:
        fits = _whole(value) and value.shape == given.shape[:1] + given.shape[2:]
        if fits and classes >= least:
            found.append(ClassNumbers(keys[name], classes, int(ignored)))
    return found


def refuse_unknown(who: str, numbers: Sequence[ClassNumbers], batch: Batch) -> None:
    """Name the first sample of the batch with a number that there is no score for."""
    for one in numbers:
        labels = getter(one.key)(batch)
        if not _whole(labels) or not labels.numel():
            continue
        if one.ignored is None or 0 <= one.ignored < one.classes:
            low, high = (int(end) for end in labels.aminmax())
            if low >= 0 and high < one.classes:
                continue
        wrong = (labels < 0) | (labels >= one.classes)
        padding = padding_of(one.key, batch)
        if one.ignored is not None:
            # Such a criterion is not told of the padding: what fills has to be what it ignores.
            wrong &= labels != one.ignored
        elif padding is not None and padding.shape == wrong.shape:
            wrong &= ~padding
        if bool(wrong.any()):
            raise _refusal(who, one, labels, wrong, batch)


def refuse_more_names(who: str, numbers: Sequence[ClassNumbers], names: Sequence[str]) -> None:
    """A data set with more classes than the model has scores for will meet one of them."""
    for one in numbers:
        if one.field in NAMED_BY_DATA and len(names) > one.classes:
            shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
            raise UserError(
                f"the data has {len(names)} classes ({shown}) and the model gives scores for "
                f"{one.classes}",
                where=f"{who}: field {one.field}",
                todo=f"Set num_classes: {len(names)} at {_holder(who)}.",
            )


def name_of(key: Key) -> str:
    """The field's own name."""
    return key if isinstance(key, str) else key[1]


def padding_of(key: Key, batch: Batch) -> Tensor | None:
    """Where the field is padded, if it is."""
    holder = batch if isinstance(key, str) else batch[key[0]]
    found = holder.get(f"{name_of(key)}_padding")
    return found if isinstance(found, Tensor) else None


def _holder(who: str) -> str:
    """Who has the argument."""
    return "the model" if who == "model" else "the model's head"


def _classes(
    module: nn.Module, of: str, keys: Mapping[str, Key], fields: Mapping[str, Any]
) -> int | None:
    scores = getter(keys[of])(fields) if of in keys else getattr(module, of, None)
    if isinstance(scores, Tensor):
        return int(scores.shape[-1])
    return scores if isinstance(scores, int) else None


def _whole(value: Any) -> bool:
    return isinstance(value, Tensor) and value.dtype in _WHOLE


def _refusal(who: str, one: ClassNumbers, labels: Tensor, wrong: Tensor, batch: Batch) -> UserError:
    place = wrong.nonzero()[0].tolist()
    value = int(labels[tuple(place)])
    sample = sample_at(batch, place[0])
    todo = f"Set num_classes: {value + 1} or more at {_holder(who)}, or correct the label."
    if value < 0:
        todo = "Class numbers begin at 0; correct the label."
    if one.ignored is not None and (value == 255 or value < 0):
        todo = f"Set ignore_index: {value} at the criterion if it marks what does not count."
    last = f"0 to {one.classes - 1}" if one.classes > 1 else "0 alone"
    plural = "classes" if one.classes > 1 else "class"
    return UserError(
        f"class number {value} is none of the model's {one.classes} {plural} ({last})",
        where=f"{who}: field {one.field}" + (f" of {sample}" if sample else ""),
        todo=todo,
    )
