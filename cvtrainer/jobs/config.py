"""What `config` verbs do: show a config, explain where a value comes from, compare two.

All of it reads plain data through core; nothing here imports torch or user code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cvtrainer.core.address import AddressError, find, parse_address, reach
from cvtrainer.core.compile import compile_config, read_tree
from cvtrainer.core.errors import ConfigErrors, UserError
from cvtrainer.core.naming import label
from cvtrainer.core.tree import COMMAND_LINE, Mark, Origins, path_text
from cvtrainer.core.tree import Path as TreePath
from cvtrainer.core.yaml_form import dump


@dataclass(frozen=True)
class Source:
    """A value and the place where it was written."""

    value: Any
    place: str


@dataclass(frozen=True)
class Explanation:
    """Where one value of a config comes from."""

    key: str
    now: Source
    before: tuple[Source, ...]
    through: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """A key at which two configs differ; None where one of them has no such key."""

    key: str
    left: Any
    right: Any
    only: str | None = None


def show(config: str, *, overrides: Sequence[str] = (), resolved: bool = False) -> str:
    """The composed config as YAML, or its resolved normal form."""
    if resolved:
        return dump(compile_config(config, overrides).resolved)
    return dump(read_tree(config, overrides)[1].data)


def explain(config: str, key: str, *, overrides: Sequence[str] = ()) -> list[Explanation]:
    """For the value at this key, in every stage that has it: who set it, and instead of what.

    Where the config has mistakes, what is written in it is still explained.
    """
    _, raw = read_tree(config, overrides)
    trees: list[tuple[Any, Origins]] = [(raw.data, raw.origins)]
    with suppress(ConfigErrors):
        compiled = compile_config(config, overrides, check=False)
        trees.insert(0, (compiled.resolved, compiled.origins))
    failures: list[AddressError] = []
    for data, origins in trees:
        try:
            return [_explanation(path, data, origins, overrides) for path in _places(data, key)]
        except AddressError as error:
            failures.append(error)
    first = failures[0]
    todo = f"Did you mean {first.suggestion}?" if first.suggestion else None
    raise UserError(first.what, where=key, todo=todo) from first


def _places(data: Any, key: str) -> list[TreePath]:
    """The paths that a key means: the whole address, or inside every stage that has it."""
    words = parse_address(key)
    try:
        return [find(data, words)]
    except AddressError as error:
        stages = data.get("stages")
        if words[0] in data or not isinstance(stages, list):
            raise
        found, failure = [], error
        for place, stage in enumerate(stages):
            try:
                found.append(("stages", place, *find(stage, words)))
            except AddressError as inner:
                failure = inner if inner.suggestion else failure
        if not found:
            raise failure from error
        return found


def _explanation(
    path: TreePath, data: Any, origins: Origins, overrides: Sequence[str]
) -> Explanation:
    mark = origins.value(path) or origins.key(path)
    place = _place(mark, overrides) if mark else "default"
    before = tuple(
        Source(value, _place(old, overrides) if old else "default")
        for old, value in reversed(origins.history(path))
    )
    through = tuple(_place(step, overrides) for step in origins.via(path))
    return Explanation(path_text(path, data), Source(reach(data, path), place), before, through)


def _place(mark: Mark, overrides: Sequence[str]) -> str:
    """A position; for a flag, the flag itself."""
    if mark.file == COMMAND_LINE and 0 < mark.line <= len(overrides):
        return f"command line: {overrides[mark.line - 1]}"
    return mark.text


def diff(left: str, right: str) -> list[Difference]:
    """The keys at which two resolved configs (files or run folders) differ."""
    return differences(*(compile_config(one, check=False).resolved for one in (left, right)))


def differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[Difference]:
    """The keys at which two normal forms differ."""
    one, other = dict(_leaves(dict(left))), dict(_leaves(dict(right)))
    found = []
    for key in dict.fromkeys([*one, *other]):
        if key not in one:
            found.append(Difference(key, None, other[key], only="right"))
        elif key not in other:
            found.append(Difference(key, one[key], None, only="left"))
        elif one[key] != other[key] or type(one[key]) is not type(other[key]):
            found.append(Difference(key, one[key], other[key]))
    return found


def _leaves(data: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that holds no others, under its dotted key; list entries by name."""
    if isinstance(data, dict) and data:
        pairs: list[tuple[str, Any]] = [(str(key), value) for key, value in data.items()]
    elif isinstance(data, list) and any(isinstance(entry, dict | list) for entry in data):
        pairs = list(zip(_entry_words(data), data, strict=True))
    else:
        yield prefix, data
        return
    for word, value in pairs:
        yield from _leaves(value, f"{prefix}.{word}" if prefix else word)


def _entry_words(entries: Sequence[Any]) -> list[str]:
    """A word per list entry: its name where no other has it, else its place."""
    names = [label(entry) if isinstance(entry, dict) else None for entry in entries]
    return [
        name if name and names.count(name) == 1 else str(place) for place, name in enumerate(names)
    ]
