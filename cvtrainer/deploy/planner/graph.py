"""An exported network as the planner sees it: values, steps, weights; no tensor, no torch.

What needs no memory of its own is gone by now: views, folded norms, fused activations, constants.
The rules say what a runtime may do without new memory and how many bytes a value takes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from enum import Enum
from math import prod

ALIGNMENT = 16
"""Bytes to which tensors in an arena are rounded up, as TFLM does."""


class Precision(Enum):
    """What numbers in activations and weights are kept as."""

    INT8 = "int8"
    FLOAT = "float"

    @property
    def bytes(self) -> int:
        """Of one number."""
        return 1 if self is Precision.INT8 else 4


class InPlace(Enum):
    """What a runtime may do in memory that another value leaves, or shares."""

    ELEMENTWISE = "elementwise"
    """An operand of the result's size that nobody reads again becomes the result."""
    CONCAT = "concat"
    """Operands of a concatenation are made where they belong in its result."""
    DEPTHWISE = "depthwise"
    """A depthwise convolution writes over its input, row behind row."""


@dataclass(frozen=True)
class Rules:
    """How a value's memory is counted, and what may be done in place."""

    precision: Precision = Precision.INT8
    in_place: Collection[InPlace] = (InPlace.ELEMENTWISE,)
    alignment: int = ALIGNMENT


@dataclass(frozen=True)
class Value:
    """Something that a step makes or that comes in: `where` is the path of the module.

    `fixed` are the bytes of an element where the precision does not decide (indices, flags).
    """

    where: str
    kind: str
    shape: tuple[int, ...]
    fixed: int | None = None

    @property
    def name(self) -> str:
        """`features.3 (add)`."""
        return f"{self.where} ({self.kind})" if self.where else self.kind

    def bytes(self, precision: Precision) -> int:
        """Without rounding."""
        return prod(self.shape) * (precision.bytes if self.fixed is None else self.fixed)


@dataclass(frozen=True)
class Weight:
    """Constants that a step reads: a matrix with channels of its own scale, or single numbers."""

    name: str
    elements: int
    is_matrix: bool = True
    channels: int = 0

    def bytes(self, precision: Precision) -> int:
        """A number of a matrix takes what the precision says; biases and the like are int32."""
        return self.elements * (precision.bytes if self.is_matrix else 4)

    def scale_bytes(self, precision: Precision) -> int:
        """In int8, a float per channel."""
        return 4 * self.channels if precision is Precision.INT8 else 0


@dataclass(frozen=True)
class Step:
    """One operation: `reads` and `writes` are places in the graph's values.

    `over` are those reads that the result may be written over, the best one first; `parts` those
    that a concatenation puts together.
    """

    where: str
    kind: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    over: tuple[int, ...] = ()
    over_as: InPlace = InPlace.ELEMENTWISE
    parts: tuple[int, ...] = ()
    macs: int = 0
    weights: tuple[Weight, ...] = ()

    @property
    def name(self) -> str:
        """`features.3 (add)`."""
        return f"{self.where} ({self.kind})" if self.where else self.kind


@dataclass(frozen=True)
class Graph:
    """Values and steps in the order of execution."""

    values: tuple[Value, ...]
    steps: tuple[Step, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    folded: dict[str, int] = field(default_factory=dict)
    """How often something was folded away, by what it was."""

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one pass."""
        return sum(step.macs for step in self.steps)

    def weights(self) -> list[Weight]:
        """Each constant once, however many steps read it."""
        return list({one.name: one for step in self.steps for one in step.weights}.values())
