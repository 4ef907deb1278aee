"""What a network takes that is fed with arrays: sounds, series, texts, rows of a table.

What makes arrays of files is the tensorizer of the run's config. No artefact repeats it; the spec
names it, with what it learnt from the training set, for whoever makes arrays on a device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.core.naming import class_name, snake_case


@dataclass(frozen=True)
class ArraySpec:
    """One input of a network. `example` is the shape of one real sample; lengths that differ from
    sample to sample are free where the artefact says what it takes."""

    name: str = "x"
    example: tuple[int, ...] = ()
    unpadded: tuple[int, ...] = ()
    """The axes along which a sample has its own length, without what fills a batch in training."""
    where: str = ""
    """The place in the run's config that makes the arrays."""
    tensorizer: Mapping[str, Any] | None = None
    """Its node; None where the data set gives arrays as they are."""
    columns: tuple[str, ...] = ()
    """Of a table, in their order, before the tensorizer."""
    learnt: Mapping[str, Any] | None = None
    """What the tensorizer learnt from the training set, such as means or a vocabulary."""

    @property
    def maker(self) -> str:
        """Who makes the arrays, in words."""
        if self.tensorizer is None:
            return f"the data set ({self.where})"
        kind = snake_case(class_name(str(self.tensorizer["type"]))).removesuffix("_tensorizer")
        return f"the tensorizer {kind} ({self.where})"

    @property
    def words(self) -> str:
        """The same for people."""
        told = (
            "The artefact takes arrays. What makes them of files lies outside of it: in the run's "
            f"config, {self.maker}."
        )
        if self.unpadded:
            told += " Each sample comes at its own length, without what fills a batch."
        return told

    @property
    def notes(self) -> tuple[str, ...]:
        """What who exports should know."""
        return (self.words,)

    def plain(self) -> dict[str, Any]:
        """As plain values, for a file."""
        return {"words": self.words, **asdict(self)}

    @classmethod
    def of_plain(cls, told: Mapping[str, Any]) -> ArraySpec:
        """Back from plain values; what is not known is refused by name."""
        values = {key: value for key, value in told.items() if key != "words"}
        strange = sorted(set(values) - {one.name for one in fields(cls)})
        if strange:
            raise UserError(f"the input's description has {strange[0]!r}, which is not known")
        for key in ("example", "unpadded", "columns"):
            values[key] = tuple(values.get(key, ()))
        maker = values.get("tensorizer")
        if maker is not None and not (isinstance(maker, Mapping) and "type" in maker):
            raise UserError("the input's description has a tensorizer without a type")
        return cls(**values)
