"""What outputs are compared with: one criterion, or several named ones with a factor each.

How fields reach parameters is found out on the first batch of a form and reused from then on. A
criterion returns a scalar, or a mapping of named parts whose `loss` is the total.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from cvtrainer.core.errors import UserError
from cvtrainer.engine.binding import (
    Arguments,
    Key,
    compile_arguments,
    form_of,
    getter,
    leaf_keys,
    names_of_predictions,
    target_fields,
)
from cvtrainer.engine.blame import (
    ABOUT_VALUES,
    first_line,
    form_of_tensor,
    raised_by_library,
    users_line,
)
from cvtrainer.engine.class_numbers import class_numbers, refuse_more_names
from cvtrainer.engine.target_looks import Looks, box_fields
from cvtrainer.protocols import Batch, Outputs


@dataclass
class Criterion:
    """A loss, what its value is multiplied by, and which field each parameter gets."""

    module: nn.Module
    factor: float = 1.0
    bind: Mapping[str, str] | None = None
    class_names: Sequence[str] = ()
    """Those of the data, where they are known."""
    arguments: dict[tuple[str, ...], Arguments] = field(default_factory=dict)
    looks: dict[tuple[str, ...], Looks] = field(default_factory=dict)

    def compare(self, batch: Batch, outputs: Outputs, who: str) -> tuple[Tensor, dict[str, Tensor]]:
        """The total and its named parts."""
        form = (*form_of(batch), *outputs)
        arguments = self.arguments.get(form)
        fields = {**batch, "outputs": outputs}
        try:
            if arguments is None:
                arguments = self._bound(batch, outputs, who)
                value = self._first(arguments, fields, who)
                self.arguments[form] = arguments
            else:
                value = arguments.call(self.module, fields)
        except (*ABOUT_VALUES, UserError) as error:
            if arguments is None:
                raise
            self._explain(error, arguments, fields, who)
            raise
        return (value, {}) if isinstance(value, Tensor) else _total_and_parts(value, who)

    def refuse_unknown(self, batch: Batch, who: str) -> None:
        """Look at class numbers and boxes of a batch of a known form, wherever it is."""
        self.looks.get(form_of(batch), Looks()).refuse(who, batch)

    def _first(self, arguments: Arguments, fields: Batch, who: str) -> Any:
        """Of a form: targets are looked at, and shapes that only seem to fit are refused."""
        found = self._looks(arguments.keys, fields)
        found.refuse(who, fields)
        refuse_more_names(who, found.numbers, self.class_names)
        self.looks[form_of({key: fields[key] for key in fields if key != "outputs"})] = found
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Using a target size", category=UserWarning)
            return arguments.call(self.module, fields)

    def _looks(self, keys: Mapping[str, Key], fields: Batch, *, least: int = 2) -> Looks:
        numbers = class_numbers(self.module, keys, fields, least=least)
        return Looks(numbers, box_fields(self.module, keys, fields))

    def _explain(self, error: Exception, arguments: Arguments, fields: Batch, who: str) -> None:
        """Raise the one line that tells what was wrong with what it was given, if that is known."""
        keys, owned = arguments.keys, type(error) is UserError and error.where is None
        if not (owned or isinstance(error, UserError) or raised_by_library(error)):
            return
        self._looks(keys, fields, least=1).refuse(who, fields)
        if isinstance(error, UserError) and not owned:
            return
        given = ", ".join(
            f"{_field(key)} {form_of_tensor(getter(key)(fields))}" for key in keys.values()
        )
        if isinstance(error, UserError):
            raise UserError(f"{error.what} (given {given})", where=who, todo=error.todo) from error
        line = users_line(error)
        why = "their shapes differ" if isinstance(error, UserWarning) else first_line(error)
        raise UserError(
            f"{type(self.module).__name__} cannot compare {given}: {why}",
            where=f"{who} ({line})" if line else who,
            todo=_what_to_do(self.module, keys, fields),
        ) from error

    def _bound(self, batch: Batch, outputs: Outputs, who: str) -> Arguments:
        results: dict[str, Key] = {name: ("outputs", name) for name in outputs}
        fields = leaf_keys(batch)
        named = {**fields, **results}
        if isinstance(batch.get("target"), Mapping):
            named.pop("target", None)
        wanted = (self.bind or {}).get("target", "")
        hidden = isinstance(fields.get(wanted), tuple) and wanted in results
        unhidden = {"target": f"target.{wanted}"} if hidden else {}
        bind = {**(self.bind or {}), **unhidden}
        judged = [] if set(bind.values()) & set(outputs) else list(results.values())[:1]
        return compile_arguments(
            self.module.forward,
            who=who,
            named=named,
            spare=[*judged, *target_fields(batch)],
            bind=bind,
            nameless=names_of_predictions(self.module.forward, batch, outputs),
        )


class Criteria(nn.ModuleDict):
    """Several criteria; their sum is the loss, and each is reported by its name, unmultiplied."""

    def __init__(self, parts: Mapping[str, Criterion]) -> None:
        names = [name if name.startswith("loss") else f"loss_{name}" for name in parts]
        if "loss" in names or len(set(names)) < len(names):
            raise UserError(
                f"criterion: {', '.join(parts)} are no names of parts: `loss` is their sum, and "
                "`loss_` before a name is left out",
                todo="Give each part a name of its own.",
            )
        super().__init__({name: part.module for name, part in parts.items()})
        self.parts = dict(parts)

    def refuse_unknown(self, batch: Batch) -> None:
        """As that of each."""
        for name, criterion in self.parts.items():
            criterion.refuse_unknown(batch, f"criterion.{name}")

    def compare(self, batch: Batch, outputs: Outputs) -> tuple[Tensor, dict[str, Tensor]]:
        total: Any = None
        reported: dict[str, Tensor] = {}
        for name, criterion in self.parts.items():
            value, parts = criterion.compare(batch, outputs, f"criterion.{name}")
            weighted = value if criterion.factor == 1.0 else value * criterion.factor
            total = weighted if total is None else total + weighted
            reported[name] = value
            reported.update({f"{name}_{part}": one for part, one in parts.items()})
        return total, reported


def _field(key: Key) -> str:
    return key if isinstance(key, str) else key[1]


def _what_to_do(module: nn.Module, keys: Mapping[str, Key], fields: Batch) -> str:
    """The usual reason for what two tensors cannot be compared."""
    tensors = [getter(key)(fields) for key in keys.values()]
    given, wanted = (*(one for one in tensors if isinstance(one, Tensor)), None, None)[:2]
    if given is not None and wanted is not None and wanted.is_floating_point():
        if hasattr(module, "ignore_index"):
            return "For class numbers use the tensorizer index; for numbers a loss such as MSELoss."
        if given.shape[:-1] == wanted.shape and given.shape[-1] == 1:
            return "Squeeze the output, or make the target a vector with the tensorizer vector."
        return "Let the model give one number for each of the target's."
    return "Bind other fields, or change what the model returns or how the target is made."


def _total_and_parts(value: Any, who: str) -> tuple[Tensor, dict[str, Tensor]]:
    """A mapping of losses: its `loss` is the total, else the sum of all."""
    if not isinstance(value, Mapping) or not value:
        raise UserError(
            f"{who}: it returns {type(value).__name__}; return a scalar tensor or a mapping"
        )
    parts = {str(name): part for name, part in value.items() if name != "loss"}
    return (value["loss"] if "loss" in value else sum(parts.values())), parts
