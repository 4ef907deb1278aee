"""One tree out of many files: `!include`, `template`, `_base_`, then overrides and `${refs}`.

Sources are read once and never changed; every use gets its own copy. Each value keeps the position
where it was written, what it replaced, and the includes it came through. Mistakes are collected
and told together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from cvtrainer.core.address import AddressError, choose, own_key, parse_address
from cvtrainer.core.errors import ConfigErrors, Problem, UserError
from cvtrainer.core.load import kind_of, load_value, shown
from cvtrainer.core.override import apply_overrides
from cvtrainer.core.references import resolve_references
from cvtrainer.core.suggest import nearest
from cvtrainer.core.tree import Mark, Origins, Path, Tree, copy_data, path_text
from cvtrainer.core.yaml_form import INCLUDE_TAG

_INCLUDE = re.compile(r"!include\s+(?P<quote>['\"]?)(?P<target>.+?)(?P=quote)\s*", re.DOTALL)
_DEEPEST = 50

Value = tuple[Any, Origins]


def compose(
    tree: Tree,
    path: str | FilePath | None = None,
    *,
    overrides: Sequence[str] = (),
    problems: list[Problem] | None = None,
) -> Tree:
    """The tree with everything it includes, overridden, references resolved.

    `path` is the tree's own file; without one, and in overrides, includes are relative to the
    working directory.
    With a list of `problems`, what leads nowhere is added to it and left as it is, so that the rest
    can still be checked; without one it is raised.
    """
    found: list[Problem] = [] if problems is None else problems
    composer = _Composer(found)
    file = FilePath(os.path.abspath(path if path is not None else "-"))
    scope = _Scope(file, ((file, ()),))
    composer.files[file] = (tree.data, tree.origins)
    data, origins = composer.value(tree.data, tree.origins, scope, ())
    if not isinstance(data, dict):
        what = f"a config is a mapping of names to values, not {kind_of(data)}"
        raise ConfigErrors([*found, Problem("", what, mark=origins.nearest())])
    whole = Tree(data, origins)
    if overrides:
        whole = apply_overrides(whole, overrides, problems=found)
    if any(INCLUDE_TAG in text for text in overrides):
        here = _Scope(FilePath(os.path.abspath("-")), ())
        whole = Tree(*composer.value(whole.data, whole.origins, here, ()))
    whole = resolve_references(whole, problems=found)
    if found and problems is None:
        raise ConfigErrors(found)
    return whole


def merge(base: Value, over: Value) -> Value:
    """Recursive update: mappings merge by key, everything else is replaced as a whole.

    So is a node whose type is another one: the arguments of the old type mean nothing to it.
    """
    (low, low_origins), (high, high_origins) = base, over
    if not (isinstance(low, dict) and isinstance(high, dict)) or _other_type(low, high):
        origins = high_origins.copy()
        origins.replaces(low_origins, low)
        return high, origins
    data = dict(low)
    origins = low_origins.copy()
    origins.sink()
    origins.set((), key=high_origins.key(), value=high_origins.value())
    for key, value in high.items():
        part = (value, high_origins.at((key,)))
        if key in data:
            part = merge((data[key], origins.at((key,))), part)
        data[key] = part[0]
        origins.graft((key,), part[1])
    return data, origins


def _other_type(low: dict[str, Any], high: dict[str, Any]) -> bool:
    types = low.get("type"), high.get("type")
    return all(isinstance(one, str) for one in types) and types[0] != types[1]


@dataclass(frozen=True)
class _Scope:
    """The file that is being read, and the (file, key) pairs that led to it."""

    file: FilePath
    trail: tuple[tuple[FilePath, tuple[str, ...]], ...]


@dataclass(frozen=True)
class _Source:
    """Where an include leads: raw data, still to be expanded in its own scope."""

    data: Any
    origins: Origins
    words: tuple[str, ...]
    scope: _Scope
    mark: Mark | None


class _Composer:
    """Expands raw values; knows every file it has read and every mistake it has met."""

    def __init__(self, problems: list[Problem]) -> None:
        self.files: dict[FilePath, Value | None] = {}
        self.problems = problems

    def value(self, data: Any, origins: Origins, scope: _Scope, path: Path) -> Value:
        """A value with everything below it expanded."""
        if isinstance(data, str):
            target = _target(data)
            if target is None:
                return data, origins.copy()
            return self._include(target, origins, scope, path)
        if isinstance(data, list):
            items, below = [], origins.bare()
            for index, item in enumerate(data):
                part = self.value(item, origins.at((index,)), scope, (*path, index))
                items.append(part[0])
                below.graft((index,), part[1])
            return items, below
        if isinstance(data, dict):
            return self._mapping(data, origins, scope, path)
        return data, origins.copy()

    def _mapping(self, data: dict[Any, Any], origins: Origins, scope: _Scope, path: Path) -> Value:
        own: dict[Any, Any] = {}
        below = origins.bare()
        for key, item in _own_items(data, path):
            own[key], part = self.value(item, origins.at((key,)), scope, (*path, key))
            below.graft((key,), part)
        result: Value = (own, below)
        layers = list(self._layers(data, origins, scope, path))
        if not layers:
            return result
        merged: Value | None = None
        for layer in layers:
            found = self._follow(layer, layer.words, path, origins)
            merged = found if merged is None else merge(merged, found)
        assert merged is not None
        if own and isinstance(merged[0], list):
            mark = below.key((next(iter(own)),)) or below.nearest()
            self._problem(path, "the template is a list, so no keys can stand beside it", mark)
        return _over_template(merged, result)

    def _layers(
        self, data: dict[Any, Any], origins: Origins, scope: _Scope, path: Path
    ) -> Iterator[_Source]:
        """What a mapping stands on, lowest first: its bases, then its template."""
        if "_base_" in data:
            bases = data["_base_"]
            listed = isinstance(bases, list)
            for index, base in enumerate(bases if listed else [bases]):
                place: Path = ("_base_", index) if listed else ("_base_",)
                mark = origins.at(place).value() or origins.nearest(place)
                if isinstance(base, str):
                    yield from self._source(_target(base) or base, mark, scope, (*path, *place))
                else:
                    what = f"names a file or a list of files, not {kind_of(base)}"
                    self._problem((*path, *place), what, mark)
        if _has_template(data, path):
            template, below = data["template"], origins.at(("template",))
            place, mark = (*path, "template"), below.value() or below.nearest()
            if isinstance(template, dict):
                yield _Source(template, below, (), scope, None)
            elif isinstance(template, str) and (target := _target(template)) is not None:
                yield from self._source(target, mark, scope, place)
            else:
                hint = f'"!include {template}"' if isinstance(template, str) else None
                what = f"is an !include or a mapping, not {kind_of(template)}"
                self._problem(place, what, mark, hint)

    def _include(self, target: str, origins: Origins, scope: _Scope, path: Path) -> Value:
        for source in self._source(target, origins.value() or origins.key(), scope, path):
            data, below = self._follow(source, source.words, path, origins)
            below.set((), key=origins.key())
            return data, below
        return None, origins.copy()

    def _follow(
        self, source: _Source, words: tuple[str, ...], path: Path, origins: Origins
    ) -> Value:
        """What the words pick from a source, expanded; a word that leads nowhere is told."""
        found = self._pick(source.data, source.origins, words, source.scope, path)
        if found is not None:
            found[1].came_through(source.mark)
            return found
        key, suggestion = ".".join(words), self._near_key(source, words)
        file = shown(source.scope.file)
        self._problem(path, f"{file} has no key {key}", source.mark, suggestion)
        return {}, origins.copy()

    def _pick(
        self, data: Any, origins: Origins, words: tuple[str, ...], scope: _Scope, path: Path
    ) -> Value | None:
        """Expand only what lies at these words, so that unrelated parts cannot get in the way."""
        if not words:
            return self.value(data, origins, scope, path)
        if isinstance(data, str) and (target := _target(data)) is not None:
            for source in self._source(target, origins.value(), scope, path, words):
                return self._pick(source.data, source.origins, source.words, source.scope, path)
            return {}, origins.copy()
        if isinstance(data, list):
            try:
                place = choose(data, words[0])
            except AddressError:
                return None
            return self._pick(data[place], origins.at((place,)), words[1:], scope, path)
        if not isinstance(data, dict):
            return None
        parts = [
            self._pick(layer.data, layer.origins, (*layer.words, *words), layer.scope, path)
            for layer in self._layers(data, origins, scope, path)
        ]
        key = own_key(data, words[0])
        if key is not None:
            parts.append(self._pick(data[key], origins.at((key,)), words[1:], scope, path))
        found: Value | None = None
        for part in parts:
            if part is not None:
                found = part if found is None else merge(found, part)
        return found

    def _source(
        self,
        target: str,
        mark: Mark | None,
        scope: _Scope,
        path: Path,
        more: tuple[str, ...] = (),
    ) -> Iterator[_Source]:
        """Open what an include names; nothing, and a problem told, where it cannot be opened."""
        name, _, key = target.partition("::")
        file = FilePath(os.path.normpath(scope.file.parent / name.strip()))
        if not name.strip():
            if not key.strip():
                self._problem(
                    path, "names no file; write !include path or !include path::key", mark
                )
                return
            file = scope.file
        try:
            words = (*(parse_address(key.strip()) if key.strip() else ()), *more)
        except AddressError as error:
            self._problem(path, error.what, mark)
            return
        if (file, words) in scope.trail or len(scope.trail) > _DEEPEST:
            self._problem(path, f"includes itself: {_circle(scope.trail, file, words)}", mark)
            return
        found = self._open(file, name.strip(), mark, path)
        if found is not None:
            inner = _Scope(file, (*scope.trail, (file, words)))
            yield _Source(found[0], found[1], words, inner, mark)

    def _open(self, file: FilePath, name: str, mark: Mark | None, path: Path) -> Value | None:
        if file in self.files:
            return self.files[file]
        self.files[file] = None
        if not file.is_file():
            del self.files[file]
            others = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
            suggestion = nearest(file.name, others)
            if suggestion:
                suggestion = name.removesuffix(file.name) + suggestion
            what = f"includes {name}, but there is no file {shown(file)}"
            self._problem(path, what, mark, suggestion)
            return None
        try:
            self.files[file] = load_value(file)
        except ConfigErrors as errors:
            self.problems.extend(errors.problems)
        except UserError as error:
            self._problem(path, str(error), mark)
        return self.files[file]

    def _near_key(self, source: _Source, words: tuple[str, ...]) -> str | None:
        """The address with its first wrong word put right, if one is near."""
        quiet = _Composer([])
        quiet.files = self.files
        for count, word in enumerate(words):
            here = quiet._pick(source.data, source.origins, words[:count], source.scope, ())
            known = [str(key) for key in here[0]] if here and isinstance(here[0], dict) else []
            if word not in known:
                near = nearest(word, known)
                return ".".join([*words[:count], near, *words[count + 1 :]]) if near else None
        return None

    def _problem(
        self, path: Path, what: str, mark: Mark | None, suggestion: str | None = None
    ) -> None:
        self.problems.append(Problem(path_text(path), what, suggestion, mark))


def _target(text: str) -> str | None:
    """What an include text names, if it is one."""
    if text.strip() == INCLUDE_TAG:
        return ""
    found = _INCLUDE.fullmatch(text)
    return found["target"] if found else None


def _has_template(data: dict[Any, Any], path: Path) -> bool:
    """Whether `template` is our word here: below `kwargs` a plain text is somebody's argument."""
    if "template" not in data:
        return False
    template = data["template"]
    inside = path[-1:] in (("kwargs",), ("args",))
    return not inside or (isinstance(template, str) and _target(template) is not None)


def _own_items(data: dict[Any, Any], path: Path) -> Iterator[tuple[Any, Any]]:
    ours = {"_base_"} | ({"template"} if _has_template(data, path) else set())
    return ((key, value) for key, value in data.items() if key not in ours)


def _over_template(template: Value, own: Value) -> Value:
    """Lay a mapping over its template; a template that is a bare name becomes a node first."""
    data, origins = template
    if not own[0] and data is not None:
        origins.set((), key=own[1].key())
        return copy_data(data), origins
    if isinstance(data, str):
        node = Origins(value=origins.value())
        node.graft(("type",), origins)
        data, origins = {"type": data}, node
    return merge((data, origins), own)


def _circle(
    trail: tuple[tuple[FilePath, tuple[str, ...]], ...], file: FilePath, words: tuple[str, ...]
) -> str:
    """The way round, from the file that is met again."""
    steps = [*trail, (file, words)]
    start = steps.index((file, words))
    texts = [shown(name) + (f"::{'.'.join(key)}" if key else "") for name, key in steps[start:]]
    return " -> ".join(texts[:1] + texts[-2:] if len(texts) > _DEEPEST else texts)
