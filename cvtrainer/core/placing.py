"""Change a tree's data and its positions together.

Turning one spelling into another moves values around; every value must keep the position at which
somebody wrote it. These few moves are all that the normal form needs.
"""

from __future__ import annotations

from typing import Any

from cvtrainer.core.errors import Problem
from cvtrainer.core.tree import Path, Tree, copy_data, path_text


class Placing:
    """A private copy of a tree under change, and the problems found on the way."""

    def __init__(self, tree: Tree) -> None:
        self.data: dict[str, Any] = copy_data(tree.data)
        self.origins = tree.origins.copy()
        self.problems: list[Problem] = []

    def get(self, path: Path) -> Any:
        """The value at a path that exists."""
        value: Any = self.data
        for step in path:
            value = value[step]
        return value

    def put(self, path: Path, value: Any) -> None:
        """Replace the value at a path; what is known of its position stays."""
        self.get(path[:-1])[path[-1]] = value

    def move(self, source: Path, target: Path) -> None:
        """Carry a value over to another place."""
        holder = self.get(source[:-1])
        value = holder.pop(source[-1])
        self.origins.move(source, target)
        self.put(target, value)

    def drop(self, path: Path) -> None:
        """Take a value away; items behind it in a list move up."""
        holder = self.get(path[:-1])
        if isinstance(holder, list):
            holder.pop(int(path[-1]))
            self.origins.close_gap(path)
        else:
            holder.pop(path[-1], None)
            self.origins.remove(path)

    def wrap(self, path: Path, *steps: str) -> None:
        """Put the value at `path` under new keys: `X` becomes `{type: X}`."""
        value, origins = self.get(path), self.origins.at(path).copy()
        inner = value
        for step in reversed(steps):
            inner = {step: inner}
        self.put(path, inner)
        mark = origins.key() or origins.value()
        self.origins.remove(path)
        self.origins.set(path, key=origins.key(), value=origins.value() or mark)
        self.origins.graft((*path, *steps), origins)
        for count in range(1, len(steps)):
            self.origins.set((*path, *steps[:count]), value=mark)

    def listed(self, path: Path) -> None:
        """Turn a mapping into the list of its values."""
        mapping = self.get(path)
        parts = [self.origins.at((*path, key)).copy() for key in mapping]
        for key in mapping:
            self.origins.remove((*path, key))
        self.put(path, list(mapping.values()))
        for index, origins in enumerate(parts):
            self.origins.graft((*path, index), origins)

    def ordered(self, path: Path, words: list[str]) -> None:
        """Known keys first, in this order; the others behind them as they were written."""
        mapping = self.get(path)
        known = {word: mapping[word] for word in words if word in mapping}
        self.put(path, {**known, **mapping}) if path else self._reorder({**known, **mapping})

    def complain(self, path: Path, what: str, suggestion: str | None = None) -> None:
        """Note a problem at a path."""
        mark = self.origins.nearest(path)
        self.problems.append(Problem(path_text(path, self.data), what, suggestion, mark))

    def _reorder(self, mapping: dict[str, Any]) -> None:
        self.data.clear()
        self.data.update(mapping)

    def tree(self) -> Tree:
        """The tree as it is now."""
        return Tree(self.data, self.origins)
