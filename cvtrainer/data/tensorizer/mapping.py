"""Which tensorizer a field of the sample goes through.

Fields are named as they stand in the sample; a field inside `target` may be named alone
(`class_id`) or with its path (`target.class_id`). A failure says field, sample and file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Literal

from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.data.sample import BadSample, Sample, sample_name
from cvtrainer.data.tensorizer.learning import Learning, TrainingField

FieldTensorizer = Callable[[Any], Tensor]


class Tensorizer:
    """Applies one tensorizer per field; `meta` is left alone.

    A field without one is an error, unless `unmapped` is `pass`: then its value goes on as it is
    and collate makes a tensor of numbers and arrays.
    """

    def __init__(
        self,
        mapping: Mapping[str, FieldTensorizer],
        *,
        unmapped: Literal["error", "pass"] = "error",
    ) -> None:
        if unmapped not in ("error", "pass"):
            raise UserError(f"unmapped is {unmapped!r}", todo="Use error or pass.")
        for name, part in mapping.items():
            if not callable(part):
                raise UserError(
                    f"field {name}: {type(part).__name__} is not a tensorizer",
                    where="Tensorizer",
                    todo="Give an object that takes the value and returns a tensor.",
                )
        self.mapping = dict(mapping)
        self.unmapped = unmapped

    @property
    def thread_safe(self) -> bool:
        """Whether all of its tensorizers may run in several threads at once."""
        return all(getattr(part, "thread_safe", False) is True for part in self.mapping.values())

    @property
    def ragged(self) -> dict[str, int]:
        """The fields whose length differs from sample to sample, and along which dimension."""
        dims = {name: getattr(part, "ragged_dim", None) for name, part in self.mapping.items()}
        return {name.split(".")[-1]: dim for name, dim in dims.items() if dim is not None}

    @property
    def pad_values(self) -> dict[str, float]:
        """What fills the fields whose tensorizer says so, where samples differ in length."""
        values = {name: getattr(part, "pad_value", None) for name, part in self.mapping.items()}
        return {name.split(".")[-1]: one for name, one in values.items() if one is not None}

    def learn(self, dataset: Any) -> None:
        """Let those that need it learn from the training set: vocabularies, numbers of classes."""
        for name, part in self._learning().items():
            part.learn(TrainingField(dataset, name))

    def state_dict(self) -> dict[str, Any]:
        """What was learnt, by field; plain values."""
        return {name: part.state_dict() for name, part in self._learning().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what was learnt in training, instead of learning."""
        for name, part in self._learning().items():
            if name not in state:
                continue
            try:
                part.load_state_dict(state[name])
            except UserError as error:
                raise UserError(
                    f"field {name}: {error.what}", where="Tensorizer", todo=error.todo
                ) from error

    def _learning(self) -> dict[str, Learning]:
        parts: dict[str, Any] = self.mapping
        return {name: part for name, part in parts.items() if isinstance(part, Learning)}

    def __call__(self, sample: Sample) -> Sample:
        used: set[str] = set()
        out = self._fields(sample, (), used, sample)
        missing = [name for name in self.mapping if name not in used]
        if missing:
            raise self._no_such_field(missing[0], sample)
        return out

    def _fields(
        self, fields: Mapping[str, Any], above: tuple[str, ...], used: set[str], sample: Sample
    ) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, value in fields.items():
            path = (*above, name)
            if path == ("meta",):
                out[name] = value
                continue
            key = self._key(path)
            if key is not None:
                used.add(key)
                out[name] = self._apply(key, value, sample)
            elif isinstance(value, Mapping):
                out[name] = self._fields(value, path, used, sample)
            elif self.unmapped == "pass":
                out[name] = value
            else:
                raise self._no_tensorizer(".".join(path), sample)
        return out

    def _key(self, path: tuple[str, ...]) -> str | None:
        dotted = ".".join(path)
        if dotted in self.mapping:
            return dotted
        return path[-1] if path[-1] in self.mapping else None

    def _apply(self, key: str, value: Any, sample: Sample) -> Any:
        try:
            return self.mapping[key](value)
        except BadSample as error:
            raise BadSample(
                f"field {key}: {error.what}",
                kind=error.kind,
                where=sample_name(sample),
                todo=error.todo,
            ) from error
        except UserError as error:
            raise UserError(
                f"field {key}: {error.what}", where=sample_name(sample), todo=error.todo
            ) from error
        except Exception as error:
            error.add_note(f"while making a tensor of field {key} of {sample_name(sample)}")
            raise

    def _no_tensorizer(self, field: str, sample: Sample) -> UserError:
        return UserError(
            f"field {field} has no tensorizer",
            where=sample_name(sample),
            todo="Add it to the tensorizer's mapping, or set unmapped: pass.",
        )

    def _no_such_field(self, name: str, sample: Sample) -> UserError:
        known = list(_leaf_names(sample))
        near = get_close_matches(name, known, n=1)
        todo = f"Did you mean {near[0]}?" if near else f"The sample has {', '.join(known)}."
        return UserError(
            f"the tensorizer's mapping names field {name}, which the sample lacks",
            where=sample_name(sample),
            todo=todo,
        )


def _leaf_names(fields: Mapping[str, Any]) -> list[str]:
    names: list[str] = []
    for name, value in fields.items():
        if name == "meta":
            continue
        names += _leaf_names(value) if isinstance(value, Mapping) else [name]
    return names
