"""What a criterion or a model says of its targets, and how a batch that breaks it is refused.

Class numbers are one of two kinds (`class_numbers.py`); boxes are the other: a class attribute
`BOX_CORNERS` names parameters that take x1, y1, x2, y2, of which the second must not lie before the
first. Boxes without an area are left to whoever takes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.binding import Key, getter
from cvtrainer.engine.blame import sample_at
from cvtrainer.engine.class_numbers import ClassNumbers, name_of, padding_of, refuse_unknown
from cvtrainer.ops.boxes import reversed_boxes
from cvtrainer.protocols import Batch


class Looks(NamedTuple):
    """Fields that are class numbers, and fields that are boxes."""

    numbers: Sequence[ClassNumbers] = ()
    boxes: Sequence[Key] = ()

    def refuse(self, who: str, batch: Batch) -> None:
        """Name the first sample that cannot be learnt from."""
        refuse_unknown(who, self.numbers, batch)
        for key in self.boxes:
            _refuse_reversed(who, key, batch)


def box_fields(module: nn.Module, keys: Mapping[str, Key], fields: Mapping[str, Any]) -> list[Key]:
    """The fields that it takes for corners of boxes."""
    said: Sequence[str] = getattr(module, "BOX_CORNERS", ())
    return [keys[name] for name in said if name in keys and _is_boxes(getter(keys[name])(fields))]


def _is_boxes(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 1 and value.shape[-1] == 4


def _refuse_reversed(who: str, key: Key, batch: Batch) -> None:
    boxes: Tensor = getter(key)(batch)
    if not _is_boxes(boxes):
        return
    wrong = reversed_boxes(boxes, padding_of(key, batch)).nonzero()[:1].tolist()
    if not wrong:
        return
    place = wrong[0]
    numbers = ", ".join(f"{number:g}" for number in boxes[tuple(place)].tolist())
    sample = sample_at(batch, place[0])
    raise UserError(
        f"a box ends before it begins ({numbers})",
        where=f"{who}: field {name_of(key)}" + (f" of {sample}" if sample else ""),
        todo="Give boxes as x1, y1, x2, y2: the tensorizer box with format: xyxy.",
    )
