"""`${a.b}` in a composed tree: the value that stands at that address.

A text that is one reference gets the value itself, with its type; inside a longer text the value
is written out. `$${` is a literal `${`. References follow overrides, because they come last.
"""

from __future__ import annotations

import re
from typing import Any

from cvtrainer.core.address import AddressError, parse_address, step
from cvtrainer.core.errors import ConfigErrors, Problem
from cvtrainer.core.load import kind_of
from cvtrainer.core.tree import Origins, Path, Tree, path_text

_REFERENCE = re.compile(r"(?<!\$)\$\{([^{}]*)\}")
_LITERAL = "$${"

Value = tuple[Any, Origins]


def resolve_references(tree: Tree, *, problems: list[Problem] | None = None) -> Tree:
    """The tree with every reference replaced; all broken ones are told at once.

    With a list of `problems`, broken ones are added to it instead of raised.
    """
    resolver = _Resolver(tree)
    data, origins = resolver.value(tree.data, tree.origins, ((),))
    if resolver.problems and problems is None:
        raise ConfigErrors(resolver.problems)
    if problems is not None:
        problems.extend(resolver.problems)
    return Tree(data, origins)


class _Resolver:
    """Replaces references by what they name; `way` is the chain of places being resolved."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.problems: list[Problem] = []

    def value(self, data: Any, origins: Origins, way: tuple[Path, ...]) -> Value:
        """A value and everything below it, resolved."""
        if isinstance(data, str):
            return self._text(data, origins, way) if "${" in data else (data, origins.copy())
        if isinstance(data, dict):
            result: Any = {}
            items: Any = data.items()
        elif isinstance(data, list):
            result = [None] * len(data)
            items = enumerate(data)
        else:
            return data, origins.copy()
        below = origins.bare()
        for key, item in items:
            inner = (*way[:-1], (*way[-1], key))
            result[key], part = self.value(item, origins.at((key,)), inner)
            below.graft((key,), part)
        return result, below

    def _text(self, text: str, origins: Origins, way: tuple[Path, ...]) -> Value:
        whole = _REFERENCE.fullmatch(text)
        if whole:
            data, below = self._look_up(whole[1], origins, way)
            below.came_through(origins.value())
            below.set((), key=origins.key())
            return data, below

        def written_out(found: re.Match[str]) -> str:
            value, _ = self._look_up(found[1], origins, way)
            if isinstance(value, (dict, list)):
                self._problem(way, origins, f"{found[0]} is {kind_of(value)} and fits no text")
            if value is None or isinstance(value, bool):
                return {None: "null", True: "true", False: "false"}[value]
            return str(value)

        return _REFERENCE.sub(written_out, text).replace(_LITERAL, "${"), origins.copy()

    def _look_up(self, address: str, origins: Origins, way: tuple[Path, ...]) -> Value:
        """The resolved value at an address; references met on the way there are followed."""
        missing: Value = (None, origins.copy())
        try:
            words = parse_address(address.strip())
            data, below, path = self.tree.data, self.tree.origins, ()
            return self._walk((data, below), path, words, way)
        except AddressError as error:
            self._problem(way, origins, f"${{{address}}}: {error.what}", error.suggestion)
        return missing

    def _walk(
        self, start: Value, path: Path, words: tuple[str, ...], way: tuple[Path, ...]
    ) -> Value:
        data, origins = start
        for count, word in enumerate(words):
            if isinstance(data, str) and _REFERENCE.fullmatch(data):
                inner = self._enter(path, way)
                return self._walk(self._text(data, origins, inner), path, words[count:], inner)
            try:
                steps = step(data, word)
            except AddressError as error:
                place = path_text(path, self.tree.data)
                what = f"{error.what} in {place}" if place else error.what
                raise AddressError(what, error.suggestion) from error
            for key in steps:
                data, origins, path = data[key], origins.at((key,)), (*path, key)
        return self.value(data, origins, self._enter(path, way))

    def _enter(self, path: Path, way: tuple[Path, ...]) -> tuple[Path, ...]:
        """The longer chain; an error where it has come back to a place that it holds."""
        if any(path == place[: len(path)] for place in way):
            texts = [path_text(place, self.tree.data) for place in (*way, path)]
            raise AddressError(f"leads back to itself: {' -> '.join(texts)}")
        return (*way, path)

    def _problem(
        self, way: tuple[Path, ...], origins: Origins, what: str, suggestion: str | None = None
    ) -> None:
        path = path_text(way[0], self.tree.data)
        mark = self.tree.origins.value(way[0]) or origins.value()
        self.problems.append(Problem(path, what, suggestion, mark))
