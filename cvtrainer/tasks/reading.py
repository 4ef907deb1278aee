"""What readings share: finding their output, and handing arrays over to be told."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from cvtrainer.protocols import Outputs
from cvtrainer.telling.reading import WHOLE, Paths, Telling, part_of_head
from cvtrainer.telling.reading import output_named as named


def output_named(outputs: Outputs, name: str, who: str) -> Tensor:
    """That output, or an error that says what there is instead."""
    value: Tensor = named(outputs, name, who)
    return value


def head_part(outputs: Outputs, name: str, who: str) -> Tensor:
    """That output of a head that gives several."""
    value: Tensor = part_of_head(outputs, name, who)
    return value


def arrays_of(outputs: Outputs, place: int) -> dict[str, NDArray[Any]]:
    """One sample's outputs as a batch of one, for telling."""
    return {
        name: _array(value[place : place + 1])
        for name, value in outputs.items()
        if isinstance(value, Tensor) and value.ndim
    }


def tells_below(reading: Any) -> Paths:
    """Where in what is told the tellings of single readings stand."""
    paths: Paths = getattr(reading, "TELLS_BELOW", WHOLE)
    return paths


def told_without_torch(reading: Any) -> Telling | None:
    """What tells the same from arrays; somebody's own reading may describe in another way."""
    own = type(reading).__module__.startswith("cvtrainer.")
    return getattr(reading, "telling", None) if own else None


def _array(value: Tensor) -> NDArray[Any]:
    plain = value.detach().cpu()
    if plain.is_floating_point() and plain.element_size() < 4:
        plain = plain.float()  # numpy knows no bfloat16
    array: NDArray[Any] = plain.numpy()
    return array
