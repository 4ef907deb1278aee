"""Several things read in the outputs of one model, each under a name of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cvtrainer.core.errors import UserError
from cvtrainer.telling.reading import Array, Arrays, Paths, Telling, Value


@dataclass(frozen=True)
class Several(Telling):
    """What each reading adds has its name before it; what it tells stands below its name."""

    kind: ClassVar[str] = "several"
    readings: Mapping[str, Telling]
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        refuse_wrong_names(self.readings, self.classes)

    @property
    def places(self) -> Mapping[str, str]:
        return {
            f"{name}_{output}": kind
            for name, reading in self.readings.items()
            for output, kind in reading.places.items()
        }

    @property
    def below(self) -> Paths:
        return paths_below({name: reading.below for name, reading in self.readings.items()})

    @property
    def decoded(self) -> tuple[str, ...]:
        return tuple(
            f"{name}_{output}"
            for name, reading in self.readings.items()
            for output in reading.decoded
        )

    def decode(self, outputs: Mapping[str, Array]) -> Arrays:
        return {
            f"{name}_{key}": value
            for name, reading in self.readings.items()
            for key, value in reading.decode(outputs_for(name, reading, outputs)).items()
        }

    def shown(self, outputs: Mapping[str, Value]) -> dict[str, Value]:
        return shown_of(self.readings, outputs)

    def describe(
        self, outputs: Mapping[str, Array], place: int, classes: Sequence[str] | None
    ) -> dict[str, Any]:
        return {
            name: reading.describe(
                outputs_below(name, outputs), place, self.classes.get(name, classes)
            )
            for name, reading in self.readings.items()
        }

    def plain(self) -> dict[str, Any]:
        readings = {name: reading.plain() for name, reading in self.readings.items()}
        classes = {name: list(names) for name, names in self.classes.items()}
        return {"type": self.kind, "kwargs": {"readings": readings, "classes": classes}}


def outputs_for(name: str, reading: Any, outputs: Mapping[str, Value]) -> dict[str, Value]:
    """What a reading decodes: those of its name without it, and the one of just that name as its
    `output`; another that it names itself stays what it is."""
    found = outputs_below(name, outputs)
    if name in outputs:
        found["output"] = outputs[name]
    asked = getattr(reading, "output", "output")
    return {**found, asked: outputs[asked]} if asked != "output" and asked in outputs else found


def outputs_below(name: str, outputs: Mapping[str, Value]) -> dict[str, Value]:
    """What a reading describes: also its own decoded outputs without its name before theirs."""
    return {**outputs, **_own(name, outputs)}


def shown_of(readings: Mapping[str, Any], outputs: Mapping[str, Value]) -> dict[str, Value]:
    """What each reading would have carried back to the picture, where it says so."""
    made = dict(outputs)
    for name, reading in readings.items():
        if hasattr(reading, "shown"):
            shown = reading.shown(outputs_below(name, outputs))
            own = {key: shown[key] for key in _own(name, outputs) if key in shown}
            made.update({f"{name}_{key}": value for key, value in own.items()})
    return made


def paths_below(paths: Mapping[str, Paths]) -> Paths:
    """Where tellings stand, of readings under these names that stand there themselves."""
    return tuple((name, *path) for name, each in paths.items() for path in each)


def _own(name: str, outputs: Mapping[str, Value]) -> dict[str, Value]:
    before = f"{name}_"
    return {
        key.removeprefix(before): value for key, value in outputs.items() if key.startswith(before)
    }


def refuse_wrong_names(readings: Mapping[str, Any], classes: Mapping[str, Any]) -> None:
    """There is a reading, and classes belong to one."""
    if not readings:
        raise UserError("task several: readings is empty; give {name: {type: ...}}")
    odd = next((name for name, one in readings.items() if not hasattr(one, "decode")), None)
    if odd is not None:
        raise UserError(
            f"task several: the reading {odd} is {readings[odd]!r}; write {{type: ...}}"
        )
    unknown = sorted(set(classes) - set(readings))
    if unknown:
        raise UserError(
            f"task several: classes names {unknown[0]!r}; the readings are {', '.join(readings)}"
        )
