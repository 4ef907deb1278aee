"""Several things read in the outputs of one model, each under a name of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import Outputs, Reading


class Several:
    """What each reading adds has its name before it; what it tells stands below its name.

    A reading named like an output reads that output. `classes` names the classes of a reading that
    are not those of the data set.
    """

    def __init__(
        self,
        readings: Mapping[str, Reading],
        classes: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.readings = dict(readings)
        self.classes = dict(classes or {})
        if not self.readings:
            raise UserError("task several: readings is empty; give {name: {type: ...}}")
        unknown = sorted(set(self.classes) - set(self.readings))
        if unknown:
            raise UserError(
                f"task several: classes names {unknown[0]!r}; the readings are "
                f"{', '.join(self.readings)}"
            )
        self.IN_PICTURE = {
            f"{name}_{output}": kind
            for name, reading in self.readings.items()
            for output, kind in getattr(reading, "IN_PICTURE", {}).items()
        }

    def decode(self, outputs: Outputs) -> Outputs:
        made: Outputs = {}
        for name, reading in self.readings.items():
            own = {**outputs, "output": outputs[name]} if name in outputs else outputs
            made.update({f"{name}_{key}": value for key, value in reading.decode(own).items()})
        return made

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for name, reading in self.readings.items():
            before = f"{name}_"
            own = {
                key.removeprefix(before): value
                for key, value in outputs.items()
                if key.startswith(before)
            }
            named = self.classes.get(name, classes)
            told[name] = reading.describe({**outputs, **own}, place, named)
        return told
