"""What readings of arrays share: finding their output, naming classes, and their plain form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError

Array = NDArray[Any]
Arrays = dict[str, Array]
Value = TypeVar("Value")
Paths = tuple[tuple[str, ...], ...]
WHOLE: Paths = ((),)
"""A single reading tells everything itself."""


@dataclass(frozen=True)
class Telling:
    """A reading as plain settings; its fields are the arguments of the task.

    `IN_PICTURE` names decoded outputs that stand in the picture, as a task's reading does.
    """

    kind: ClassVar[str] = ""
    IN_PICTURE: ClassVar[Mapping[str, str]] = {}
    DECODED: ClassVar[tuple[str, ...]] = ()

    @property
    def places(self) -> Mapping[str, str]:
        """Decoded outputs that stand in the picture, and as what."""
        return self.IN_PICTURE

    @property
    def below(self) -> Paths:
        """Where in what is told the tellings of single readings stand."""
        return WHOLE

    @property
    def decoded(self) -> tuple[str, ...]:
        """The names that decoding adds."""
        return self.DECODED

    def decode(self, outputs: Mapping[str, Array]) -> Arrays:
        """Further arrays, made of the network's own outputs."""
        raise NotImplementedError

    def applied(self, outputs: Mapping[str, Array]) -> Arrays:
        """Decoded outputs at the operating point, where there is one."""
        return dict(outputs)

    def shown(self, outputs: Mapping[str, Value]) -> dict[str, Value]:
        """What is worth carrying back to the picture, of a batch of one."""
        return dict(outputs)

    def describe(
        self, outputs: Mapping[str, Array], place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        """Plain values about the sample at that place of decoded outputs."""
        raise NotImplementedError

    def plain(self) -> dict[str, Any]:
        """As a node, for a contract."""
        return {"type": self.kind, "kwargs": asdict(self)}


def part_of_head(outputs: Mapping[str, Value], name: str, who: str) -> Value:
    """An output that a head gives under a name of its own, which no argument can change."""
    if name not in outputs:
        raise UserError(
            f"the model gives no output {name!r}",
            where=f"task {who}",
            todo=f"There is {', '.join(outputs)}. It reads a head of such objects; of several "
            "heads, it is the reading of its head's name in the task several.",
        )
    return outputs[name]


def output_named(outputs: Mapping[str, Value], name: str, who: str) -> Value:
    """That output, or an error that says what there is instead."""
    if name not in outputs:
        raise UserError(
            f"the model gives no output {name!r}",
            where=f"task {who}",
            todo=f"There is {', '.join(outputs)}. Set the task's output to one of them.",
        )
    return outputs[name]


def class_name(number: int, classes: Sequence[str] | None) -> str:
    """The name of a class, or its number where names do not reach so far."""
    return classes[number] if classes is not None and number < len(classes) else str(number)


def shares_of(scores: Array, axis: int) -> Array:
    """Softmax."""
    powers = np.exp(scores - scores.max(axis=axis, keepdims=True))
    shares: Array = powers / powers.sum(axis=axis, keepdims=True)
    return shares


def share_of(scores: Array) -> Array:
    """Sigmoid, each score for itself."""
    small = np.exp(-np.abs(scores))
    return np.where(scores >= 0, 1 / (1 + small), small / (1 + small)).astype(scores.dtype)


def best_places(scores: Array, most: int) -> NDArray[np.intp]:
    """Places along the last axis, the highest scores first, so many at most."""
    return np.argsort(-scores, axis=-1, kind="stable")[..., :most]
