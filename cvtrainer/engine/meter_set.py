"""Feeds meters in blocks: keeps references for a few steps, joins them, updates each meter once.

One small tensor operation costs more than all bookkeeping of a step, so meters see up to 16 steps
(or 1 MiB) at a time. Where a block ends depends on the data alone, never on when somebody reads,
and the steps not yet handed over are part of the state: a resumed run cuts the same blocks and
adds the same numbers in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from cvtrainer.core.errors import UserError
from cvtrainer.engine.blame import ABOUT_VALUES, first_line, form_of_tensor, raised_by_library
from cvtrainer.protocols import Meter, State

BLOCK_STEPS = 16
BLOCK_BYTES = 1 << 20

_PLAIN = (int, float, bool, str, type(None))


class MeterSet:
    """Named meters with the field that each parameter of their `update` takes.

    `prefixes` go before the names of what the meters give.
    """

    def __init__(
        self,
        meters: Mapping[str, Meter],
        bindings: Mapping[str, Mapping[str, str]],
        prefixes: Mapping[str, str] | None = None,
    ) -> None:
        unbound = sorted(set(meters) - set(bindings))
        if unbound:
            raise UserError(f"meters: no fields are known for {', '.join(unbound)}")
        self._meters = dict(meters)
        self._bindings = {name: dict(bindings[name]) for name in self._meters}
        self._prefixes = dict(prefixes or {})
        wanted = [field for bind in self._bindings.values() for field in bind.values()]
        self._fields = tuple(dict.fromkeys(wanted))
        self._pending: list[tuple[Any, ...]] = []
        self._pending_bytes = 0

    def record(self, fields: Mapping[str, Any]) -> None:
        """Remember one step; nothing is computed until the block is full.

        The tensors are kept, not copied: whoever fills a tensor anew in place gives a new one.
        """
        row = []
        size = self._pending_bytes
        for name in self._fields:
            value = fields[name]
            if isinstance(value, Tensor):
                if value.requires_grad:
                    value = value.detach()
                size += value.nbytes
            elif not isinstance(value, _PLAIN):
                value = _detached(value)
                size += _bytes(value)
            row.append(value)
        self._pending.append(tuple(row))
        self._pending_bytes = size
        if size >= BLOCK_BYTES or len(self._pending) == BLOCK_STEPS:
            self.end_block()

    def rehearse(self, fields: Mapping[str, Any]) -> None:
        """See that each meter takes such fields, now and not when its block is full."""
        stand_in = MeterSet(deepcopy(self._meters), self._bindings)
        stand_in.record(fields)
        stand_in.end_block()

    def end_block(self) -> None:
        """Hand the pending steps over now: for a reader at fixed steps, never at times of a clock.

        Reading right after it needs no copies; a resumed run ends the same blocks again.
        """
        if self._pending:
            self._update(self._meters)
            self._forget()

    def compute(self) -> dict[str, float]:
        """The values so far, pending steps included; the blocks stay as they are."""
        meters = self._up_to_date()
        values: dict[str, float] = {}
        makers: dict[str, str] = {}
        for name, meter in meters.items():
            for own, value in _numbers(name, meter.compute()).items():
                metric = f"{self._prefixes.get(name, '')}{own}"
                if metric in values:
                    raise UserError(
                        f"meters: {makers[metric]} and {name} both produce {metric!r}; "
                        "keep one of them, or give one a prefix"
                    )
                values[metric] = value
                makers[metric] = name
        return values

    def reset(self) -> None:
        """Start anew, as for a new epoch."""
        self._forget()
        for meter in self._meters.values():
            meter.reset()

    def merge(self, states: Sequence[State]) -> None:
        """Become the exact combination of these states, one per rank."""
        complete: list[dict[str, Meter]] = []
        for state in states:
            other = MeterSet(deepcopy(self._meters), self._bindings)
            other.load_state_dict(state)
            complete.append(other._up_to_date())
        self._forget()
        for name, meter in self._meters.items():
            meter.merge([meters[name].state_dict() for meters in complete])

    def state_dict(self) -> State:
        """The meters' states and the steps that wait for their block to fill."""
        return {
            "meters": {name: meter.state_dict() for name, meter in self._meters.items()},
            "pending": [
                dict(zip(self._fields, map(_own_copy, row), strict=True)) for row in self._pending
            ],
        }

    def load_state_dict(self, state: State) -> None:
        """Continue from such a state."""
        for name, meter in self._meters.items():
            try:
                meter.load_state_dict(state["meters"][name])
            except (LookupError, RuntimeError, TypeError, ValueError) as error:
                raise UserError(
                    f"the meter {name} does not take its state back ({error})"
                ) from error
        self._pending = [tuple(row[name] for name in self._fields) for row in state["pending"]]
        self._pending_bytes = sum(_bytes(value) for row in self._pending for value in row)

    def _forget(self) -> None:
        self._pending = []
        self._pending_bytes = 0

    def _up_to_date(self) -> dict[str, Meter]:
        """The meters, or copies of them that have seen the pending steps too."""
        if not self._pending:
            return self._meters
        meters = {name: _snapshot(meter) for name, meter in self._meters.items()}
        self._update(meters)
        return meters

    @torch.no_grad()
    def _update(self, meters: Mapping[str, Meter]) -> None:
        """Hand the pending steps over: joined where all fields of a meter can be, else singly."""
        columns = dict(zip(self._fields, zip(*self._pending, strict=True), strict=True))
        joined = {name: _join(column) for name, column in columns.items()}
        for name, meter in meters.items():
            bind = self._bindings[name]
            if all(joined[field] is not None for field in bind.values()):
                _tell(name, meter, {p: joined[field] for p, field in bind.items()})
                continue
            for place in range(len(self._pending)):
                _tell(name, meter, {p: _single(columns[f][place]) for p, f in bind.items()})


def _tell(name: str, meter: Meter, values: Mapping[str, Any]) -> None:
    """Update the meter; what it cannot count is told with its name and what it was given."""
    update: Any = getattr(meter, "update")  # noqa: B009 (each meter has its own parameters)
    try:
        update(**values)
    except (*ABOUT_VALUES, UserError) as error:
        given = ", ".join(f"{key} {form_of_tensor(value)}" for key, value in values.items())
        if type(error) is UserError and error.where is None:
            what = f"{error.what} (given {given})"
            raise UserError(what, where=f"meters.{name}", todo=error.todo) from error
        if isinstance(error, UserError) or not raised_by_library(error):
            raise
        raise UserError(
            f"{type(meter).__name__} cannot count {given}: {first_line(error)}",
            where=f"meters.{name}",
            todo=f"Bind other fields with bind: {{{next(iter(values), 'output')}: FIELD}}.",
        ) from error


def _numbers(name: str, told: Any) -> Mapping[str, float]:
    """What a meter gives, if it is numbers by name."""
    named = isinstance(told, Mapping)
    wrong = [value for value in told.values() if not _is_number(value)] if named else [told]
    if wrong:
        raise UserError(
            f"its compute gives {'a value that is ' if named else ''}a {type(wrong[0]).__name__}",
            where=f"meters.{name}",
            todo="Return a mapping from names to numbers, such as {'f1': 0.5}.",
        )
    numbers: Mapping[str, float] = told
    return numbers


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) or (isinstance(value, Tensor) and value.numel() == 1)


def _snapshot(meter: Meter) -> Meter:
    """A copy that can go on alone; a log line waits for it, so plain state is copied by hand."""
    values = vars(meter)
    if not all(_is_simple(value) for value in values.values()):
        return deepcopy(meter)
    twin = copy(meter)
    vars(twin).update({name: _own_copy(value) for name, value in values.items()})
    return twin


def _is_simple(value: Any) -> bool:
    """Tensors without a graph, plain values, and lists, tuples and dicts of them."""
    if isinstance(value, Tensor):
        return not value.requires_grad
    if type(value) is dict:
        return all(_is_simple(part) for part in value.values())
    if type(value) in (list, tuple):
        return all(_is_simple(part) for part in value)
    return isinstance(value, _PLAIN)


def _join(column: Sequence[Any]) -> Any:
    """One value for a whole block; None where the steps do not fit together."""
    first = column[0]
    if isinstance(first, Tensor):
        return _join_tensors(column)
    if isinstance(first, bool | int | float):
        same = all(type(value) is type(first) for value in column)
        return torch.tensor(column) if same else None
    if isinstance(first, Mapping):
        if any(not isinstance(value, Mapping) or value.keys() != first.keys() for value in column):
            return None
        parts = {key: _join([value[key] for value in column]) for key in first}
        return None if any(part is None for part in parts.values()) else parts
    if isinstance(first, list) and all(isinstance(value, list) for value in column):
        return [entry for value in column for entry in value]
    return None


def _join_tensors(column: Sequence[Any]) -> Tensor | None:
    """Rows one after the other; scalars become a vector."""
    if not all(isinstance(value, Tensor) for value in column):
        return None
    shapes = {value.shape for value in column}
    if len({value.dtype for value in column}) > 1:
        return None
    if len(shapes) > 1 and len({(len(shape), shape[1:]) for shape in shapes}) > 1:
        return None
    if len({value.device for value in column}) > 1:  # after a resume: older steps came from a file
        column = [value.to(column[-1].device) for value in column]
    return torch.cat(tuple(column)) if column[0].ndim else torch.stack(tuple(column))


def _single(value: Any) -> Any:
    """One step alone, in the form of a block."""
    alone = _join([value])
    return value if alone is None else alone


def _detached(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, Mapping):
        return {key: _detached(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_detached(part) for part in value)
    return value


def _own_copy(value: Any) -> Any:
    """The same without sharing memory, so that a view does not drag its whole storage along."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {key: _own_copy(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_own_copy(part) for part in value)
    return value


def _bytes(value: Any) -> int:
    """Memory held by the tensors in a value."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(_bytes(part) for part in value.values())
    if isinstance(value, list | tuple):
        return sum(_bytes(part) for part in value)
    return 0
