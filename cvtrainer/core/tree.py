"""A config as plain data, and beside it where every value was written.

Data is dict, list, str, int, float, bool or None. `Origins` is a tree of the same shape that keeps
the position of each key and value, what a value replaced, and through which includes it came.
A subtree of origins is itself an `Origins`, so moving data around moves its positions with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cvtrainer.core.naming import label

COMMAND_LINE = "<command line>"
PYTHON = "<python>"

Path = tuple[str | int, ...]


@dataclass(frozen=True, order=True)
class Mark:
    """A position in a file, counted from 1; flags and Python calls have no line."""

    file: str
    line: int = 1
    column: int = 1

    @property
    def text(self) -> str:
        """`file:line:col` as editors and terminals open it."""
        if self.file.startswith("<"):
            return self.file
        return f"{self.file}:{self.line}:{self.column}"


class Origins:
    """The positions of one value and of everything below it."""

    __slots__ = ("_children", "_key", "_past", "_value", "_via")

    def __init__(self, *, key: Mark | None = None, value: Mark | None = None) -> None:
        self._key = key
        self._value = value
        self._past: list[tuple[Mark | None, Any]] = []
        self._via: tuple[Mark, ...] = ()
        self._children: dict[str | int, Origins] = {}

    # -- asking ------------------------------------------------------------------------------
    def key(self, path: Path = ()) -> Mark | None:
        """Where the key at this path stands."""
        found = self._find(path)
        return found._key if found else None

    def value(self, path: Path = ()) -> Mark | None:
        """Where the value at this path stands."""
        found = self._find(path)
        return found._value if found else None

    def nearest(self, path: Path = ()) -> Mark | None:
        """The position to show for this path: its key, its value, or its closest ancestor's."""
        node, best = self, self._value or self._key
        for step in path:
            child = node._children.get(step)
            if child is None:
                break
            node, best = child, child._key or child._value or best
        return best

    def history(self, path: Path = ()) -> list[tuple[Mark | None, Any]]:
        """What stood here before, oldest first."""
        found = self._find(path)
        return list(found._past) if found else []

    def via(self, path: Path = ()) -> tuple[Mark, ...]:
        """The includes, templates and references that brought the value, outermost first."""
        node, marks = self, self._via
        for step in path:
            child = node._children.get(step)
            if child is None:
                break
            node, marks = child, marks + child._via
        return marks

    def at(self, path: Path) -> Origins:
        """The subtree at this path; an empty one where nothing is known."""
        return self._find(path) or Origins()

    def steps(self) -> list[str | int]:
        """The keys and list places directly below."""
        return list(self._children)

    def paths(self, path: Path = ()) -> Iterator[Path]:
        """Every known path, parents first."""
        yield path
        for step, child in self._children.items():
            yield from child.paths((*path, step))

    # -- telling -----------------------------------------------------------------------------
    def set(self, path: Path, *, key: Mark | None = None, value: Mark | None = None) -> None:
        """Note where the key and the value at this path stand; None leaves what is known."""
        node = self._make(path)
        node._key = key or node._key
        node._value = value or node._value

    def replaced(self, path: Path, mark: Mark | None, value: Any) -> None:
        """Note that `value`, written at `mark`, stood here and was replaced."""
        self._make(path)._past.append((mark, value))

    def replaces(self, other: Origins, value: Any) -> None:
        """Note that this value took the place of `value`, whose origins are `other`."""
        self._past = [*other._past, (other._value, value), *self._past]

    def sink(self) -> None:
        """Hand the way this value came down to its parts, before some of them are replaced."""
        for child in self._children.values():
            child._via = self._via + child._via
        self._via = ()

    def came_through(self, mark: Mark | None) -> None:
        """Note the include, template or reference that brought this value."""
        if mark is not None:
            self._via = (mark, *self._via)

    def graft(self, path: Path, origins: Origins) -> None:
        """Put a copy of `origins` at this path in place of what is known there."""
        if not path:
            raise ValueError("the root cannot be replaced")
        self._make(path[:-1])._children[path[-1]] = origins.copy()

    def copy(self) -> Origins:
        """An independent copy of the whole subtree."""
        twin = self.bare()
        twin._children = {step: child.copy() for step, child in self._children.items()}
        return twin

    def bare(self) -> Origins:
        """A copy of this value's own positions, without what lies below it."""
        twin = Origins(key=self._key, value=self._value)
        twin._past, twin._via = list(self._past), self._via
        return twin

    def move(self, source: Path, target: Path) -> None:
        """Carry the subtree at `source` over to `target`."""
        moved = self.at(source)
        self.remove(source)
        self.graft(target, moved)

    def remove(self, path: Path) -> None:
        """Forget this path and everything below it."""
        parent = self._find(path[:-1])
        if parent is not None:
            parent._children.pop(path[-1], None)

    def close_gap(self, path: Path) -> None:
        """Forget the list item at this path; the items after it move up by one."""
        parent, gap = self._find(path[:-1]), path[-1]
        if parent is None or not isinstance(gap, int):
            return
        kept = {step: child for step, child in parent._children.items() if step != gap}
        parent._children = {
            step - 1 if isinstance(step, int) and step > gap else step: child
            for step, child in kept.items()
        }

    # -- inside ------------------------------------------------------------------------------
    def _find(self, path: Path) -> Origins | None:
        node: Origins | None = self
        for step in path:
            if node is None:
                return None
            node = node._children.get(step)
        return node

    def _make(self, path: Path) -> Origins:
        node = self
        for step in path:
            node = node._children.setdefault(step, Origins())
        return node


@dataclass
class Tree:
    """Plain data together with its positions."""

    data: dict[str, Any]
    origins: Origins = field(default_factory=Origins)


def path_text(path: Path, data: Any = None) -> str:
    """`stages.train.hooks.ema.kwargs.decay`: list entries by their name where they have one."""
    words: list[str] = []
    for step in path:
        word = str(step)
        if isinstance(data, list) and isinstance(step, int) and step < len(data):
            word = label(data[step]) or word
        words.append(word)
        data = _child(data, step)
    return ".".join(words)


def _child(data: Any, step: str | int) -> Any:
    if isinstance(data, dict):
        return data.get(step)
    if isinstance(data, list) and isinstance(step, int) and step < len(data):
        return data[step]
    return None


def copy_data(data: Any) -> Any:
    """An independent copy of plain data."""
    if isinstance(data, dict):
        return {key: copy_data(value) for key, value in data.items()}
    if isinstance(data, list):
        return [copy_data(value) for value in data]
    return data
