"""Several things read in the outputs of one model, each under a name of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cvtrainer.protocols import Outputs, Reading
from cvtrainer.tasks.reading import tells_below, told_without_torch
from cvtrainer.telling import several as without_torch
from cvtrainer.telling.reading import Telling


class Several:
    """What each reading adds has its name before it; what it tells stands below its name.

    A reading named like an output reads that output; one named like a head that gives several reads
    those. `classes` names the classes of a reading that are not those of the data set.
    """

    def __init__(
        self,
        readings: Mapping[str, Reading],
        classes: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.readings = dict(readings)
        self.classes = dict(classes or {})
        without_torch.refuse_wrong_names(self.readings, self.classes)
        self.IN_PICTURE = {
            f"{name}_{output}": kind
            for name, reading in self.readings.items()
            for output, kind in getattr(reading, "IN_PICTURE", {}).items()
        }
        self.TELLS_BELOW = without_torch.paths_below(
            {name: tells_below(reading) for name, reading in self.readings.items()}
        )

    @property
    def telling(self) -> without_torch.Several | None:
        """The same for arrays, where each of the readings has one."""
        told: dict[str, Telling] = {}
        for name, reading in self.readings.items():
            own = told_without_torch(reading)
            if own is None:
                return None
            told[name] = own
        return without_torch.Several(told, self.classes)

    def decode(self, outputs: Outputs) -> Outputs:
        made: Outputs = {}
        for name, reading in self.readings.items():
            own = reading.decode(without_torch.outputs_for(name, reading, outputs))
            made.update({f"{name}_{key}": value for key, value in own.items()})
        return made

    def shown(self, outputs: Outputs) -> Outputs:
        """What is worth carrying back to the picture, of a batch of one."""
        return without_torch.shown_of(self.readings, outputs)

    def describe(
        self, outputs: Outputs, place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        return {
            name: reading.describe(
                without_torch.outputs_below(name, outputs), place, self.classes.get(name, classes)
            )
            for name, reading in self.readings.items()
        }
