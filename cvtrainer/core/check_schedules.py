"""Schedules of a hook: their type, their arguments, schedules inside schedules, and warm-ups."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cvtrainer.core.check_arguments import check_arguments
from cvtrainer.core.check_optimizers import learning_rate
from cvtrainer.core.durations import parse_duration
from cvtrainer.core.errors import UserError
from cvtrainer.core.findings import Findings, closest
from cvtrainer.core.resolve import Resolver
from cvtrainer.core.schema import FILLED_ARGUMENTS, FUNCTION_ARGUMENTS, RUNTIME_ARGUMENTS
from cvtrainer.core.signature import Signatures
from cvtrainer.core.tree import Path
from cvtrainer.core.value_types import shown_value

WARMUP = "cvtrainer.optim.schedules.warmup:WarmupWords"
_OWN = "cvtrainer.optim.schedules"
_LENGTHS = ("length", "steps", "epochs")
_DURATIONS = ("warmup_steps",)
_INNER = ("scheduler_type", "scheduler_kwargs")


def check_schedule(found: Findings, signatures: Signatures, resolver: Resolver, path: Path) -> None:
    """The pair `scheduler_type`, `scheduler_kwargs` at a path."""
    arguments = found.get(path)
    name = arguments.get("scheduler_type")
    if not isinstance(name, str):
        return
    resolved = resolver.resolve(name, "scheduler")
    if resolved.target is None:
        found.wrong_value((*path, "scheduler_type"), resolved.what, resolved.suggestion)
        return
    info = signatures.read(resolved.target)
    words = arguments.get("scheduler_kwargs")
    if info is None or found.told((*path, "scheduler_kwargs")):
        return
    given, filled = RUNTIME_ARGUMENTS["scheduler"], FILLED_ARGUMENTS["scheduler"]
    if not isinstance(words, dict):
        for parameter in info.parameters.values():
            supplied = parameter.name in given or parameter.name in filled
            if parameter.required and not supplied and words is None:
                what = f"{info.name} needs the argument `{parameter.name}`"
                found.missing(path, "scheduler_kwargs", what)
        return
    place = (*path, "scheduler_kwargs")
    check_arguments(found, place, info, given=given, filled=filled)
    if "max_lr" in words:
        learning_rate(found, (*place, "max_lr"), words["max_lr"])
    if info.symbol.module.name.startswith(_OWN):
        _durations(found, place, words)
        if words.get("warmup") is not None:
            _warmup(found, signatures, (*place, "warmup"), words["warmup"])
    _functions(found, resolver, place, words)
    _inner(found, signatures, resolver, (*place, "schedulers"), words.get("schedulers"))


def _warmup(found: Findings, signatures: Signatures, path: Path, value: Any) -> None:
    """A length alone, or the words of a warm-up."""
    if not isinstance(value, dict):
        _duration(found, path, value)
        return
    info = signatures.read(WARMUP)
    assert info is not None
    check_arguments(found, path, replace(info, name="a warm-up"))
    lengths = [word for word in _LENGTHS if value.get(word) is not None]
    for word in lengths[1:]:
        found.wrong_key((*path, word), f"{lengths[0]} says how long it is already; keep one")
    if "length" in lengths and not found.told((*path, "length")):
        _duration(found, (*path, "length"), value["length"])
    for word in ("steps", "epochs", "factor"):
        number = value.get(word)
        if isinstance(number, int | float) and number < 0:
            found.wrong_value((*path, word), f"must not be negative, as {number:g} is")


def _durations(found: Findings, path: Path, words: dict[str, Any]) -> None:
    for word in _DURATIONS:
        if isinstance(words.get(word), str) and not found.told((*path, word)):
            _duration(found, (*path, word), words[word])


def _duration(found: Findings, path: Path, value: Any) -> None:
    try:
        parse_duration(value)
    except UserError as error:
        found.wrong_value(path, f"{error.what}; write 5%, 3ep, 500st or a number of epochs")


def _functions(found: Findings, resolver: Resolver, path: Path, words: dict[str, Any]) -> None:
    """Functions of the user's own are named by their path, one or a list of them."""
    for word in FUNCTION_ARGUMENTS:
        value = words.get(word)
        named = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, text in named:
            place = (*path, word) if index is None else (*path, word, index)
            if not isinstance(text, str):
                continue
            resolved = resolver.resolve(text, "")
            if resolved.target is None:
                found.wrong_value(place, resolved.what, resolved.suggestion)


def _inner(
    found: Findings, signatures: Signatures, resolver: Resolver, path: Path, nodes: Any
) -> None:
    if not isinstance(nodes, list) or found.told(path):
        return
    for index, node in enumerate(nodes):
        place = (*path, index)
        if not isinstance(node, dict):
            what = (
                f"write {{scheduler_type: NAME, scheduler_kwargs: {{…}}}}, not {shown_value(node)}"
            )
            found.wrong_value(place, what)
            continue
        for word in node:
            if word not in _INNER:
                what = f"an inner schedule takes {' and '.join(_INNER)}"
                found.wrong_key((*place, word), what, closest(word, _INNER))
        if "scheduler_type" in node:
            check_schedule(found, signatures, resolver, place)
        else:
            found.missing(place, "scheduler_type", "an inner schedule needs a `scheduler_type`")
