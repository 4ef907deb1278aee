"""YAML to plain data with the position of every key and value.

The parser's node graph is walked directly, because constructed objects have lost their positions.
`!include x` becomes the text "!include x", the same as its quoted form; `compose` follows it.
"""

from __future__ import annotations

from typing import Any

import yaml

from cvtrainer.core.errors import ConfigErrors, Problem
from cvtrainer.core.tree import Mark, Origins, Path, path_text
from cvtrainer.core.yaml_form import GraphLoader, is_merge_key, scalar


def read_yaml(text: str, file: str) -> tuple[Any, Origins]:
    """One YAML document; every mistake in it is told, not only the first."""
    node = _parse(text, file)
    if node is None:
        return None, Origins(value=Mark(file))
    reader = _Reader(file)
    found = reader.value(node, ())
    if reader.problems:
        raise ConfigErrors(reader.problems)
    return found


def read_inline(text: str) -> Any:
    """A value as written on a command line; ValueError where it is not YAML."""
    try:
        return read_yaml(text, "<command line>")[0]
    except ConfigErrors as errors:
        raise ValueError(errors.problems[0].what) from errors


def _parse(text: str, file: str) -> yaml.Node | None:
    loader = None
    try:
        loader = GraphLoader(text)
        node: yaml.Node | None = loader.get_single_node()
        return node
    except yaml.MarkedYAMLError as error:
        raise ConfigErrors([_syntax_problem(error, text, file)]) from error
    except yaml.YAMLError as error:
        raise ConfigErrors([_character_problem(error, text, file)]) from error
    finally:
        if loader is not None:
            loader.dispose()


def _syntax_problem(error: yaml.MarkedYAMLError, text: str, file: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    what = error.problem or error.context or "is not YAML"
    if error.context and error.problem:
        start = f", begun in line {error.context_mark.line + 1}" if error.context_mark else ""
        what = f"{error.problem} ({error.context}{start})"
    if mark is None:
        return Problem("", what, mark=Mark(file))
    line = text.splitlines()[mark.line] if mark.line < len(text.splitlines()) else ""
    if "token" in what and "\t" in line:
        what = "a tab cannot indent YAML; use spaces"
    elif "${" in line and "flow" in what:
        what += '; inside { } and [ ] a "${reference}" needs quotes'
    return Problem("", what, mark=Mark(file, mark.line + 1, mark.column + 1))


def _character_problem(error: yaml.YAMLError, text: str, file: str) -> Problem:
    """A control character or the like: the parser counts it from the start of the text."""
    place = min(getattr(error, "position", 0) or 0, len(text))
    line = text.count("\n", 0, place) + 1
    column = place - (text.rfind("\n", 0, place) + 1) + 1
    what = f"a character here is not allowed in YAML ({getattr(error, 'reason', error)})"
    return Problem("", what, mark=Mark(file, line, column))


class _Reader:
    """Walks one document's nodes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._open: list[yaml.Node] = []

    def value(self, node: yaml.Node, path: Path) -> tuple[Any, Origins]:
        origins = Origins(value=self._mark(node))
        if any(node is outer for outer in self._open):
            self._problem(node, path, "an anchor that contains itself cannot be a config")
            return None, origins
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                self._check_tag(node, path, "tag:yaml.org,2002:map")
                return self._mapping(node, path, origins), origins
            if isinstance(node, yaml.SequenceNode):
                self._check_tag(node, path, "tag:yaml.org,2002:seq")
                return self._list(node, path, origins), origins
            return self._scalar(node, path), origins
        finally:
            self._open.pop()

    def _list(self, node: yaml.SequenceNode, path: Path, origins: Origins) -> list[Any]:
        items = []
        for index, child in enumerate(node.value):
            item, below = self.value(child, (*path, index))
            origins.graft((index,), below)
            items.append(item)
        return items

    def _mapping(self, node: yaml.MappingNode, path: Path, origins: Origins) -> dict[Any, Any]:
        data = self._merged(node, path, origins)
        own: dict[Any, Mark] = {}
        for key_node, value_node in node.value:
            if is_merge_key(key_node):
                continue
            key, mark = self._key(key_node, path), self._mark(key_node)
            if key in own:
                what = f"is written twice; the first one is at {own[key].text}"
                self._problem(key_node, (*path, key), what)
                continue
            own[key] = mark
            value, below = self.value(value_node, (*path, key))
            below.set((), key=mark)
            if key in data:
                below.replaced((), origins.value((key,)), data[key])
            origins.graft((key,), below)
            data[key] = value
        return data

    def _merged(self, node: yaml.MappingNode, path: Path, origins: Origins) -> dict[Any, Any]:
        """What `<<` brings in; the first of several sources wins."""
        data: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not is_merge_key(key_node):
                continue
            listed = isinstance(value_node, yaml.SequenceNode)
            for source in value_node.value if listed else [value_node]:
                value, below = self.value(source, path)
                if not isinstance(value, dict):
                    self._problem(source, path, "<< takes a mapping or a list of mappings")
                    continue
                for key in value.keys() - data.keys():
                    origins.graft((key,), below.at((key,)))
                data = {**value, **data}
        return data

    def _key(self, node: yaml.Node, path: Path) -> Any:
        """Whole numbers stay numbers as keys; all else is its text (`on:` is the word on)."""
        if not isinstance(node, yaml.ScalarNode):
            self._problem(node, path, "a key is a word or a number, not a mapping or a list")
            return str(node.start_mark.index)
        if node.tag == "tag:yaml.org,2002:int":
            return self._scalar(node, path)
        return node.value

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        try:
            return scalar(node.tag, node.value)
        except ValueError as error:
            self._problem(node, path, str(error))
            return None

    def _check_tag(self, node: yaml.Node, path: Path, expected: str) -> None:
        if node.tag not in (expected, "!"):
            name = node.tag.replace("tag:yaml.org,2002:", "!!")
            self._problem(node, path, f"the tag {name} does not fit here")

    def _mark(self, node: yaml.Node) -> Mark:
        return Mark(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def _problem(self, node: yaml.Node, path: Path, what: str) -> None:
        self.problems.append(Problem(path_text(path), what, mark=self._mark(node)))
