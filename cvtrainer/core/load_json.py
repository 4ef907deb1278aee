"""JSON to plain data with the position of every key and value.

The standard library's decoder reads the scalars; the walk around it exists because that decoder
tells no positions. Keys written twice are errors here too.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Any

from cvtrainer.core.errors import ConfigErrors, Problem
from cvtrainer.core.tree import Mark, Origins, Path, path_text

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def read_json(text: str, file: str) -> tuple[Any, Origins]:
    """One JSON document."""
    reader = _Reader(text, file)
    if not text.strip():
        return None, Origins(value=Mark(file))
    try:
        data, origins, end = reader.value(0, ())
        if _skip(text, end) != len(text):
            raise json.JSONDecodeError("more text after the end", text, _skip(text, end))
    except json.JSONDecodeError as error:
        what = f"{error.msg[:1].lower()}{error.msg[1:]}"
        raise ConfigErrors([Problem("", what, mark=reader.mark(error.pos))]) from error
    if reader.problems:
        raise ConfigErrors(reader.problems)
    return data, origins


class _Reader:
    """Walks one document's text."""

    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.problems: list[Problem] = []
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]

    def mark(self, place: int) -> Mark:
        line = bisect_right(self._lines, place)
        return Mark(self.file, line, place - self._lines[line - 1] + 1)

    def value(self, place: int, path: Path) -> tuple[Any, Origins, int]:
        start = _skip(self.text, place)
        origins = Origins(value=self.mark(start))
        opening = self.text[start : start + 1]
        if opening == "{":
            data, end = self._mapping(start + 1, path, origins)
            return data, origins, end
        if opening == "[":
            items, end = self._list(start + 1, path, origins)
            return items, origins, end
        scalar, end = _DECODER.raw_decode(self.text, start)
        return scalar, origins, end

    def _list(self, place: int, path: Path, origins: Origins) -> tuple[list[Any], int]:
        items: list[Any] = []
        if self._next(place) == "]":
            return items, _skip(self.text, place) + 1
        while True:
            item, below, place = self.value(place, (*path, len(items)))
            origins.graft((len(items),), below)
            items.append(item)
            place, done = self._after_item(place, "]")
            if done:
                return items, place

    def _mapping(self, place: int, path: Path, origins: Origins) -> tuple[dict[str, Any], int]:
        data: dict[str, Any] = {}
        if self._next(place) == "}":
            return data, _skip(self.text, place) + 1
        while True:
            start = _skip(self.text, place)
            if self._next(start) != '"':
                raise json.JSONDecodeError("a key in double quotes is expected", self.text, start)
            key, place = _DECODER.raw_decode(self.text, start)
            if self._next(place) != ":":
                raise json.JSONDecodeError("':' is expected", self.text, place)
            value, below, place = self.value(_skip(self.text, place) + 1, (*path, key))
            if key in data:
                first = origins.key((key,))
                what = f"is written twice; the first one is at {first.text if first else '?'}"
                self.problems.append(Problem(path_text((*path, key)), what, mark=self.mark(start)))
            else:
                below.set((), key=self.mark(start))
                origins.graft((key,), below)
                data[key] = value
            place, done = self._after_item(place, "}")
            if done:
                return data, place

    def _after_item(self, place: int, closing: str) -> tuple[int, bool]:
        """Past the comma or the closing bracket, and whether it was the latter."""
        found = self._next(place)
        if found not in (",", closing):
            raise json.JSONDecodeError(f"',' or '{closing}' is expected", self.text, place)
        return _skip(self.text, place) + 1, found == closing

    def _next(self, place: int) -> str:
        start = _skip(self.text, place)
        return self.text[start : start + 1]


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place
