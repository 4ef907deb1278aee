"""What the checks have found so far, with positions; one mistake is told once.

A follow-up of a mistake (an argument missing because its name was misspelt, arguments of a type
that does not exist) would only distract, so checks ask here before they speak.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cvtrainer.core.errors import Problem
from cvtrainer.core.normalise import Normal
from cvtrainer.core.suggest import nearest
from cvtrainer.core.tree import Mark, Path, path_text


class Findings:
    """Problems and notes about one normal form."""

    def __init__(
        self, normal: Normal, problems: Sequence[Problem], broken: Sequence[Problem] = ()
    ) -> None:
        self.data = normal.tree.data
        self.origins = normal.tree.origins
        self.nodes = normal.nodes
        self.written = normal.written
        self.problems = list(problems)
        self.notes: list[str] = []
        self._broken = frozenset(broken)
        self._texts = {problem.path for problem in problems}

    def get(self, path: Path) -> Any:
        """The value at a path of the normal form."""
        value: Any = self.data
        for step in path:
            value = value[step]
        return value

    def text(self, path: Path) -> str:
        """A path as messages show it."""
        return path_text(path, self.data)

    def wrong_key(self, path: Path, what: str, suggestion: str | None = None) -> None:
        """A key that should not be there, told at the key."""
        self._add(path, what, suggestion, self.origins.nearest(path))

    def wrong_value(self, path: Path, what: str, suggestion: str | None = None) -> None:
        """A value that should be another, told at the value."""
        mark = self.origins.value(path) or self.origins.nearest(path)
        self._add(path, what, suggestion, mark)

    def missing(self, path: Path, key: str, what: str) -> None:
        """A key that should be there, unless something misspelt was surely meant for it."""
        place = self.text((*path, key))
        if place in self._texts or self._meant(path, key):
            return
        self._add(path, what, None, self.origins.nearest(path))

    def note(self, path: Path, what: str) -> None:
        """Something that could not be checked from source."""
        self.notes.append(f"{self.text(path)}: {what}")

    def told(self, path: Path) -> bool:
        """Whether something was already said about this very place."""
        return self.text(path) in self._texts

    def _meant(self, path: Path, key: str) -> bool:
        """Whether a sibling key was reported as a misspelling of `key`."""
        prefix = self.text(path)
        for problem in self.problems:
            place, _, last = problem.path.removesuffix(".template").rpartition(".")
            if problem.suggestion == key and (place == prefix or not prefix):
                return True
            if last == key and problem in self._broken:
                return True
        return False

    def _add(self, path: Path, what: str, suggestion: str | None, mark: Mark | None) -> None:
        text = self.text(path)
        self._texts.add(text)
        self.problems.append(Problem(text, what, suggestion, mark))


def closest(word: Any, *groups: Any) -> str | None:
    """The nearest name, looked for in each group of names in turn."""
    for group in groups:
        found = nearest(str(word), group)
        if found is not None:
            return found
    return None
