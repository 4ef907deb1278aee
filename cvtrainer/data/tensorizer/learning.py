"""What tensorizers learn from the training set, such as a vocabulary or the number of classes.

A tensorizer that has to know something of the data and was not told has `learn`, `state_dict` and
`load_state_dict`; what it learnt in training is what evaluation and prediction use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import BadSample


class TrainingField:
    """One field of every sample of the training set, as the data set gives it."""

    def __init__(self, dataset: Any, field: str) -> None:
        self.dataset = dataset
        self.field = field

    @property
    def classes(self) -> Mapping[str, int] | None:
        """Class name to number, where the data set has classes."""
        found = getattr(self.dataset, "classes", None)
        return found if isinstance(found, Mapping) and found else None

    def values(self) -> Iterator[Any]:
        """The values in order; samples that cannot be read are left out."""
        read = getattr(self.dataset, "record", None) or self.dataset.__getitem__
        for number in range(len(self.dataset)):
            try:
                sample = read(number)
            except (BadSample, OSError):
                continue
            yield self._value(sample)

    def _value(self, sample: Mapping[str, Any]) -> Any:
        *above, name = self.field.split(".")
        holder: Any = sample
        for part in above:
            holder = holder.get(part, {})
        target = sample.get("target")
        for place in (holder, target):
            if isinstance(place, Mapping) and name in place:
                return place[name]
        raise UserError(
            f"the training set has no field {self.field}",
            todo="Correct the tensorizer's mapping.",
        )


@runtime_checkable
class Learning(Protocol):
    """A tensorizer that can learn from the training set, and remember it."""

    def learn(self, field: TrainingField) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...
