"""Which field of a batch goes into which parameter: found out once, then only looked up.

Explicit binds win; then fields of the same name (leaves of `target` count by their own name);
then the one unambiguous candidate. Whatever stays open is an error that names the parameter and
the fields there were. Works on whatever the first batch shows, so nothing is inspected per step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.protocols import Batch

Getter = Callable[[Mapping[str, Any]], Any]
Key = str | tuple[str, str]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_PADDING = "_padding"
"""Ends the name of a field that says where the field of the name before it is padded."""
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def input_fields(batch: Batch) -> list[str]:
    """Fields the networks may read: without a `target`, only the first field is an input."""
    fields: list[str] = [
        key for key in batch if key not in ("target", "meta") and not _tells_padding(key, batch)
    ]
    return fields if "target" in batch else fields[:1]


def target_fields(batch: Batch) -> list[Key]:
    """Fields a loss compares with: leaves of `target`, or all but the first where there is none."""
    target = batch.get("target")
    if isinstance(target, Mapping):
        return [("target", leaf) for leaf in target if not _tells_padding(leaf, target)]
    if "target" in batch:
        return ["target"]
    return list(leaf_keys(batch).values())[1:]


def _tells_padding(name: str, fields: Mapping[str, Any]) -> bool:
    return name.endswith(_PADDING) and name.removesuffix(_PADDING) in fields


def leaf_keys(batch: Batch) -> dict[str, Key]:
    """Every field by its own name; a top-level field wins over a leaf of `target`.

    A leaf of `target` also has its whole name, `target.count`, which nothing else can hide.
    """
    target = batch.get("target")
    leaves: dict[str, Key] = {}
    if isinstance(target, Mapping):
        leaves.update({leaf: ("target", leaf) for leaf in target})
    leaves.update({key: key for key in batch if key != "meta"})
    if isinstance(target, Mapping):
        leaves.update({f"target.{leaf}": ("target", leaf) for leaf in target})
    return leaves


def names_of_predictions(
    function: Callable[..., Any], batch: Batch, outputs: Collection[str]
) -> set[str]:
    """Parameters that mean a prediction although an input field has their name.

    torch's losses call it `input`; whatever else compares takes it first, as `x` for example.
    """
    first = next(iter(inspect.signature(function).parameters), "input")
    return {"input", first}.intersection(input_fields(batch)) - set(outputs)


def form_of(batch: Batch) -> tuple[str, ...]:
    """Which fields there are; what was found out on one batch holds for all of its form."""
    target = batch.get("target")
    if type(target) is dict or isinstance(target, Mapping):  # the first is quick, and usual
        return (*batch, *target)
    return tuple(batch)


def getter(key: Key) -> Getter:
    """A function that reads the key from a batch."""
    if isinstance(key, str):
        return itemgetter(key)
    outer, inner = key
    return lambda batch: batch[outer][inner]


def batch_size(batch: Batch) -> int:
    """Samples in the batch: from `meta` where there is one, else the first tensor's length."""
    meta = batch.get("meta")
    if meta is not None and "index" in meta:
        return len(meta["index"])
    for value in batch.values():
        if isinstance(value, Mapping):
            value = next(iter(value.values()), None)
        if value is not None and hasattr(value, "shape"):
            return int(value.shape[0])
    raise UserError("batch: no field has a length; a batch needs at least one tensor")


def samples_of_all_ranks(batch: Batch, ranks: int) -> int:
    """Samples in the global batch that this one is a rank's part of."""
    meta = batch.get("meta")
    if meta is not None and "of" in meta:
        return int(meta["of"])
    return batch_size(batch) * ranks


class Arguments:
    """A compiled call: positional getters, then keyword getters; `keys` says who gets what."""

    __slots__ = ("_named", "_positional", "_single", "keys")

    def __init__(
        self,
        positional: Sequence[Getter],
        named: Mapping[str, Getter],
        keys: Mapping[str, Key] | None = None,
    ) -> None:
        self.keys: Mapping[str, Key] = keys or {}
        self._positional = tuple(positional)
        self._named = tuple(named.items())
        self._single = self._positional[0] if len(positional) == 1 and not named else None

    def call(self, function: Callable[..., Any], fields: Mapping[str, Any]) -> Any:
        if self._single is not None:
            return function(self._single(fields))
        values = [get(fields) for get in self._positional]
        if not self._named:
            return function(*values)
        return function(*values, **{name: get(fields) for name, get in self._named})


def compile_arguments(
    function: Callable[..., Any],
    *,
    who: str,
    named: Mapping[str, Key],
    spare: Sequence[Key],
    bind: Mapping[str, str] | None = None,
    nameless: Collection[str] = (),
) -> Arguments:
    """Match the parameters of `function` with fields.

    `named` are fields reachable by name; `spare` are taken in order by required parameters that
    no name matches. For parameters in `nameless` the name says nothing about the field.
    """
    bind = dict(bind or {})
    parameters = list(inspect.signature(function).parameters.values())
    variadic = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    _refuse_unknown_binds(bind, parameters, variadic, who, named)
    chosen: dict[str, Key] = {name: named[field] for name, field in bind.items()}
    for parameter in parameters:
        if parameter.kind in _VARIADIC or parameter.name in nameless:
            continue
        if parameter.name in named:
            chosen.setdefault(parameter.name, named[parameter.name])
    free = [key for key in spare if key not in chosen.values()]
    for parameter in parameters:
        if parameter.kind in _VARIADIC or parameter.name in chosen:
            continue
        if parameter.default is not inspect.Parameter.empty:
            continue
        if not free:
            raise UserError(
                f"{who}: no field for its parameter {parameter.name!r}; there is "
                f"{', '.join(named) or 'nothing'}. Name one with bind: {{{parameter.name}: FIELD}}"
            )
        chosen[parameter.name] = free.pop(0)
    if not chosen and spare and any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return Arguments([getter(spare[0])], {}, {"output": spare[0]})
    return _arrange(parameters, chosen)


def _refuse_unknown_binds(
    bind: Mapping[str, str],
    parameters: Sequence[inspect.Parameter],
    variadic: bool,
    who: str,
    named: Mapping[str, Key],
) -> None:
    known = [parameter.name for parameter in parameters if parameter.kind not in _VARIADIC]
    for name, field in bind.items():
        if name not in known and not variadic:
            raise UserError(f"{who}: bind names a parameter {name!r}; it has {', '.join(known)}")
        if field not in named:
            raise UserError(
                f"{who}: bind asks for a field {field!r}; there is {', '.join(named) or 'nothing'}"
            )


def _arrange(parameters: Sequence[inspect.Parameter], chosen: Mapping[str, Key]) -> Arguments:
    """Positional as long as no parameter is skipped, by keyword after that."""
    positional: list[Getter] = []
    by_keyword: dict[str, Getter] = {}
    skipped = False
    for parameter in parameters:
        if parameter.name not in chosen:
            skipped = True
        elif parameter.kind in _POSITIONAL and not skipped:
            positional.append(getter(chosen[parameter.name]))
        else:
            by_keyword[parameter.name] = getter(chosen[parameter.name])
    extra = set(chosen) - {parameter.name for parameter in parameters}
    by_keyword.update({name: getter(chosen[name]) for name in sorted(extra)})
    return Arguments(positional, by_keyword, chosen)
