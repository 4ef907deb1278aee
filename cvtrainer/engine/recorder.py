"""Feeds meters: picks, once, which fields each of them needs, then hands over step after step.

Every phase has its own recorder with its own copies of the meters, so that training values never
leak into validation. Fields are flat: leaves of the batch, outputs, named losses, `loss` and
`batch_size`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.core.naming import entry_name
from cvtrainer.engine.binding import (
    Key,
    batch_size,
    getter,
    leaf_keys,
    names_of_predictions,
    target_fields,
)
from cvtrainer.engine.meter_set import MeterSet
from cvtrainer.protocols import Batch, Meter, State, UpdateResult

Source = Callable[[Batch, UpdateResult], Any]

_METHODS = ("update", "compute", "reset", "state_dict", "load_state_dict")
"""What every run calls; several processes call `merge` as well."""


@dataclass(frozen=True)
class MeterEntry:
    """A meter under its unique name, with its explicit binds and the phases it runs in.

    `prefix` goes before the names of what it gives, where two would give the same.
    """

    name: str
    meter: Meter
    bind: Mapping[str, str] = field(default_factory=dict)
    phases: tuple[str, ...] = ()
    prefix: str = ""


def _phases(entry: MeterEntry) -> tuple[str, ...]:
    """Those written with the entry, else those that the meter itself is for."""
    return entry.phases or getattr(entry.meter, "PHASES", ())


def as_entries(meters: Iterable[Any]) -> list[MeterEntry]:
    """Meters as given to the Python API: entries, or bare meters named after their class."""
    return [
        meter
        if isinstance(meter, MeterEntry)
        else MeterEntry(entry_name(type(meter).__name__), meter)
        for meter in meters
    ]


def _refuse_unfinished(entry: MeterEntry) -> None:
    """What a meter lacks would be missed at the end of an epoch only."""
    lacking = [name for name in _METHODS if not callable(getattr(entry.meter, name, None))]
    if lacking:
        raise UserError(
            f"{type(entry.meter).__name__} has no {', no '.join(lacking)}",
            where=f"meters.{entry.name}",
            todo=f"A meter has {', '.join(_METHODS)}, and merge for several processes.",
        )


class Recorder:
    """The meters of one phase."""

    def __init__(self, entries: Iterable[MeterEntry], phase: str) -> None:
        self._entries = [entry for entry in entries if phase in (_phases(entry) or (phase,))]
        for entry in self._entries:
            _refuse_unfinished(entry)
        self._meters = {entry.name: deepcopy(entry.meter) for entry in self._entries}
        self._arguments = {name: _as_made(meter) for name, meter in self._meters.items()}
        self._bindings: dict[str, dict[str, str]] | None = None
        self._sources: list[tuple[str, Source]] = []
        self._sources_known = False
        self._set: MeterSet | None = None

    def record(self, batch: Batch, result: UpdateResult) -> None:
        """Remember what the meters need of this batch; nothing is read from the device."""
        if not self._meters:
            return
        new = not self._sources_known
        if new:
            self._find_sources(batch, result)
        assert self._set is not None
        fields = {name: source(batch, result) for name, source in self._sources}
        if new:
            self._set.rehearse(fields)
        self._set.record(fields)

    def compute(self) -> dict[str, float]:
        """The values so far; reading does not disturb the accumulation."""
        return {} if self._set is None else self._set.compute()

    def end_block(self) -> None:
        """Makes the next reading cheap; only for readers whose steps belong to the run."""
        if self._set is not None:
            self._set.end_block()

    def higher_is_better(self, name: str) -> bool:
        """Which way a value of this phase improves; what no meter declares is a loss.

        A meter that gives several values of one kind (`accuracy_top5`, `accuracy_of_cat`) declares
        how their names begin; the longest declaration that fits counts.
        """
        fitting: list[tuple[int, bool]] = []
        for entry in self._entries:
            own = name.removeprefix(entry.prefix)
            declared: Mapping[str, bool] = getattr(entry.meter, "HIGHER_IS_BETTER", {})
            fitting += [
                (len(metric), higher)
                for metric, higher in declared.items()
                if own == metric or own.startswith(f"{metric}_")
            ]
        return max(fitting, default=(0, False))[1]

    def reset(self) -> None:
        if self._set is not None:
            self._set.reset()

    def merge(self, states: list[State]) -> None:
        """Become the combination of the ranks' recorders."""
        for state in states:
            if self._set is None and state:
                self._adopt(state["bindings"])
        if self._set is not None:
            self._set.merge([state["meters"] for state in states if state])

    def state_dict(self) -> State:
        if self._set is None:
            return {}
        return {
            "bindings": self._bindings,
            "arguments": self._arguments,
            "meters": self._set.state_dict(),
        }

    def what_changed(self, state: State) -> str | None:
        """How these meters differ from those of the state: which ones, their fields or arguments;
        None if the state fits."""
        if not state:
            return None
        bindings: Mapping[str, Mapping[str, str]] = state["bindings"]
        if bindings.keys() != self._meters.keys():
            then, now = (", ".join(names) or "none" for names in (bindings, self._meters))
            return f"the meters changed ({then}; now {now})"
        for entry in self._entries:
            then_bound = bindings[entry.name]
            if any(_short(then_bound.get(p)) != _short(f) for p, f in entry.bind.items()):
                return f"the fields of the meter {entry.name} changed"
        for name, arguments in state.get("arguments", {}).items():
            own = self._arguments[name]
            for key in dict.fromkeys((*arguments, *own)):
                if key.startswith("_"):  # older states hold these as well
                    continue
                if arguments.get(key) != own.get(key):
                    then, now = arguments.get(key, "absent"), own.get(key, "absent")
                    return f"the meter {name} changed ({key} was {then}, now {now})"
        return None

    def load_state_dict(self, state: State) -> None:
        if not state:
            return
        self._adopt(state["bindings"])
        assert self._set is not None
        self._set.load_state_dict(state["meters"])

    def _adopt(self, bindings: Mapping[str, Mapping[str, str]]) -> None:
        self._bindings = {name: dict(bind) for name, bind in bindings.items()}
        prefixes = {entry.name: entry.prefix for entry in self._entries}
        self._set = MeterSet(self._meters, self._bindings, prefixes)

    def _find_sources(self, batch: Batch, result: UpdateResult) -> None:
        sources = _sources(batch, result)
        if self._set is None:
            outputs = list(result.outputs)
            targets = [_target_name(key, outputs) for key in target_fields(batch)]
            self._adopt(
                {
                    entry.name: _bind(
                        _unhidden(entry, batch, outputs),
                        list(sources),
                        [*_judged(_unhidden(entry, batch, outputs), outputs), *targets],
                        _nameless(entry, batch, outputs),
                    )
                    for entry in self._entries
                }
            )
        assert self._bindings is not None
        needed = {name for bind in self._bindings.values() for name in bind.values()}
        missing = needed - set(sources)
        if missing:
            raise UserError(
                f"meters: no field {', '.join(sorted(missing))}; there is {', '.join(sources)}"
            )
        self._sources = [(name, sources[name]) for name in sources if name in needed]
        self._sources_known = True


def _short(name: str | None) -> str | None:
    """A field's name without the group in which it stands."""
    return None if name is None else name.removeprefix("target.")


def _target_name(key: Key, outputs: Collection[str]) -> str:
    """The name of a field to compare with; its whole name where an output hides the short one."""
    if isinstance(key, str):
        return key
    return f"target.{key[1]}" if key[1] in outputs else key[1]


def _unhidden(entry: MeterEntry, batch: Batch, outputs: Collection[str]) -> MeterEntry:
    """With a `target` that means the field, where an output has the same name."""
    wanted = entry.bind.get("target", "")
    key = leaf_keys(batch).get(wanted)
    if isinstance(key, str) or key is None or wanted not in outputs:
        return entry
    return replace(entry, bind={**entry.bind, "target": f"target.{wanted}"})


def _sources(batch: Batch, result: UpdateResult) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    for name, key in leaf_keys(batch).items():
        sources[name] = _from_batch(getter(key))
    for name in result.outputs:
        sources[name] = _from_outputs(name)
    for name in result.losses:  # often named after the output that it judges
        sources.setdefault(name, _from_losses(name))
    if result.losses:
        sources["losses"] = lambda batch, result: result.losses
    sources["loss"] = lambda batch, result: result.loss
    sources["batch_size"] = lambda batch, result: batch_size(batch)
    return sources


def _from_batch(get: Callable[[Mapping[str, Any]], Any]) -> Source:
    return lambda batch, result: get(batch)


def _from_outputs(name: str) -> Source:
    return lambda batch, result: result.outputs[name]


def _from_losses(name: str) -> Source:
    return lambda batch, result: result.losses[name]


def _as_made(meter: Meter) -> dict[str, str]:
    """The type and the plain public attributes of a meter that has seen nothing: what made it."""
    own = {name: value for name, value in vars(meter).items() if not name.startswith("_")}
    plain = {name: value for name, value in own.items() if _is_plain(value)}
    return {"type": type(meter).__name__, **{name: repr(value) for name, value in plain.items()}}


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str)


def _update_of(entry: MeterEntry) -> Callable[..., Any]:
    update: Callable[..., Any] | None = getattr(entry.meter, "update", None)
    if update is None:
        raise UserError(f"meters.{entry.name}: {type(entry.meter).__name__} has no update method")
    return update


def _judged(entry: MeterEntry, outputs: list[str]) -> list[str]:
    """The first output, unless a bind names one already: the rest is then sought in the target."""
    return [] if set(entry.bind.values()) & set(outputs) else outputs[:1]


def _nameless(entry: MeterEntry, batch: Batch, outputs: list[str]) -> Collection[str]:
    """A meter that takes a single field takes the one of that name."""
    update = _update_of(entry)
    alone = len(inspect.signature(update).parameters) == 1
    return () if alone else names_of_predictions(update, batch, outputs)


def _bind(
    entry: MeterEntry, fields: list[str], spare: list[str], nameless: Collection[str]
) -> dict[str, str]:
    """Field for each parameter of the meter's `update`."""
    chosen: dict[str, str] = dict(entry.bind)
    parameters = inspect.signature(_update_of(entry)).parameters
    for name, parameter in parameters.items():
        by_name = name in fields and name not in nameless and not _nested_target(name, spare)
        if name not in chosen and by_name:
            chosen[name] = name
        if name in chosen or parameter.default is not inspect.Parameter.empty:
            continue
        free = [one for one in spare if one not in chosen.values()]
        if not free:
            raise UserError(
                f"meters.{entry.name}: no field for its parameter {name!r}; there is "
                f"{', '.join(fields)}. Name one with bind: {{{name}: FIELD}}"
            )
        chosen[name] = free[0]
    for name, wanted in chosen.items():
        if name not in parameters or wanted not in fields:
            raise UserError(
                f"meters.{entry.name}: bind {{{name}: {wanted}}} does not fit; its parameters are "
                f"{', '.join(parameters)}, the fields {', '.join(fields)}"
            )
    _refuse_one_field_twice(entry.name, chosen)
    return chosen


def _refuse_one_field_twice(name: str, chosen: Mapping[str, str]) -> None:
    """A field compared with itself is always right: what a task reads exists in evaluation only."""
    by_field: dict[str, str] = {}
    for parameter, wanted in chosen.items():
        other = by_field.setdefault(wanted, parameter)
        if other != parameter:
            raise UserError(
                f"{other} and {parameter} would both be the field {wanted}",
                where=f"meters.{name}",
                todo="Bind different ones. What the task reads in the outputs is there in "
                "evaluation only: for that, add phases: [val].",
            )


def _nested_target(name: str, spare: list[str]) -> bool:
    """`target` is a group of fields here, so a parameter of that name means its sole leaf."""
    return name == "target" and "target" not in spare
