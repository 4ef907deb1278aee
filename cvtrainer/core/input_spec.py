"""What a network takes, from a picture's file on: decoding, sizes, colours, numbers.

One record, made from the evaluation split of a stage. Prediction, calibration, exported graphs and
packages all read it, so that a file means the same to each of them. Nothing here touches a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar

from cvtrainer.core.errors import UserError

Size = tuple[int, int]
"""Height and width."""
Fill = float | tuple[float, ...]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
KERNELS = ("nearest", "bilinear", "bicubic", "area", "lanczos")


@dataclass(frozen=True)
class Resize:
    """To a size, or to the length of a side.

    `shrink` says what a picture that gets smaller goes through: `plain` (the kernel's own few
    pixels), `area` (means of areas, where neither side grows) or `smooth` (a widened kernel).
    `rounded` is false where the result keeps its fractions.
    """

    kind: ClassVar[str] = "resize"
    size: Size | None = None
    shorter: int | None = None
    longer: int | None = None
    kernel: str = "bilinear"
    shrink: str = "plain"
    rounded: bool = True

    def result(self, height: int, width: int) -> Size:
        """The size that a picture of that size gets."""
        if self.size is not None:
            return self.size
        side = min(height, width) if self.shorter else max(height, width)
        factor = (self.shorter or self.longer or side) / side
        return max(1, round(height * factor)), max(1, round(width * factor))


@dataclass(frozen=True)
class CenterCrop:
    """The middle; a smaller picture is padded, or refused."""

    kind: ClassVar[str] = "center_crop"
    size: Size = (0, 0)
    pad: bool = False
    fill: Fill = 0.0

    def result(self, height: int, width: int) -> Size:
        """Always the same."""
        return self.size


@dataclass(frozen=True)
class Pad:
    """A border of left, top, right and bottom."""

    kind: ClassVar[str] = "pad"
    sides: tuple[int, int, int, int] = (0, 0, 0, 0)
    fill: Fill = 0.0

    def result(self, height: int, width: int) -> Size:
        """The picture and its border."""
        left, top, right, bottom = self.sides
        return height + top + bottom, width + left + right


@dataclass(frozen=True)
class PadTo:
    """A border around what is smaller, centred."""

    kind: ClassVar[str] = "pad_to"
    size: Size = (0, 0)
    fill: Fill = 0.0

    def result(self, height: int, width: int) -> Size:
        """At least that large."""
        return max(height, self.size[0]), max(width, self.size[1])


@dataclass(frozen=True)
class Grey:
    """Without colour, with as many channels as before."""

    kind: ClassVar[str] = "grey"

    def result(self, height: int, width: int) -> Size:
        """As before."""
        return height, width


Step = Resize | CenterCrop | Pad | PadTo | Grey
_STEPS: dict[str, type[Step]] = {one.kind: one for one in (Resize, CenterCrop, Pad, PadTo, Grey)}


@dataclass(frozen=True)
class InputSpec:
    """From the bytes of a file to the numbers of one input.

    Pictures are upright RGB, or grey where `channels` is 1. After the steps, bytes become
    (value / 255 - mean) / std in float32; `scaled` is false where they stay bytes.
    """

    channels: int = 3
    steps: tuple[Step, ...] = ()
    scaled: bool = True
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    truncated: str = "replace"
    scaled_jpeg: bool = False
    max_pixels: int = 100_000_000
    name: str = "x"
    notes: tuple[str, ...] = field(default=(), compare=False)
    """What was not written in the config but follows from the data."""

    @property
    def size(self) -> Size | None:
        """The size that every picture gets; None where it depends on the picture."""
        one, other = self.result(1, 3), self.result(1009, 499)
        return one if one == other else None

    def result(self, height: int, width: int) -> Size:
        """The size that a picture of that size gets."""
        for step in self.steps:
            height, width = step.result(height, width)
        return height, width

    def fitted(self, size: Size) -> InputSpec:
        """The same where every picture gets that size, if it would not do so anyhow."""
        if self.size == size:
            return self
        why = f"pictures become {size[0]}x{size[1]}, as those of the evaluation split"
        return self.changed(steps=(*self.steps, fitting(size)), notes=(*self.notes, why))

    def changed(self, **changes: Any) -> InputSpec:
        """The same with some of it different."""
        same = {one.name: getattr(self, one.name) for one in fields(self)}
        return InputSpec(**{**same, **changes})

    def plain(self) -> dict[str, Any]:
        """As plain values, for a file."""
        told = asdict(self)
        told["steps"] = [{"kind": step.kind, **asdict(step)} for step in self.steps]
        return told

    @classmethod
    def of_plain(cls, told: Mapping[str, Any]) -> InputSpec:
        """Back from plain values; what is not known is refused by name."""
        known = {one.name for one in fields(cls)}
        strange = sorted(set(told) - known)
        if strange:
            raise UserError(f"the input's description has {strange[0]!r}, which is not known")
        values = {key: _frozen(value) for key, value in told.items()}
        values["steps"] = tuple(_step(one) for one in told.get("steps", ()))
        return cls(**values)


def fitting(size: Size) -> Resize:
    """What brings pictures to a size that follows from the data."""
    return Resize(size=size, shrink="smooth")


def _step(told: Mapping[str, Any]) -> Step:
    rest = {key: _frozen(value) for key, value in told.items() if key != "kind"}
    kind = _STEPS.get(str(told.get("kind")))
    if kind is None or not set(rest) <= {one.name for one in fields(kind)}:
        raise UserError(f"the input's description has a step that is not known: {dict(told)}")
    return kind(**rest)


def _frozen(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(_frozen(one) for one in value)
    return value
