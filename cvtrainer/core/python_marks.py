"""Where the values of a Python config stand, read from its syntax tree.

Follows dict literals, `dict(...)` calls, lists, names assigned in the same scope and assignments
such as `cfg["a"] = 1`. What it cannot follow keeps the position of the closest thing it could.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from cvtrainer.core.tree import Mark, Origins, Path


def mark_variable(source: ast.Module, file: str, name: str, value: Any) -> Origins:
    """Positions for the value of one module-level variable."""
    return _Marker(file, source.body).variable(name, value)


def mark_names(source: ast.Module, file: str, names: Mapping[str, Any]) -> Origins:
    """Positions for module-level names taken together as one mapping."""
    marker = _Marker(file, source.body)
    origins = Origins(value=Mark(file))
    for name, value in names.items():
        below = marker.variable(name, value)
        below.set((), key=marker.assigned_at(name))
        origins.graft((name,), below)
    return origins


def mark_call(source: ast.Module, file: str, function: str, value: Any) -> Origins:
    """Positions for what a module's function returned."""
    for node in source.body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            returned = [part for part in _statements(node.body) if isinstance(part, ast.Return)]
            marker = _Marker(file, [*source.body, *node.body])
            last = returned[-1].value if returned else None
            if isinstance(last, ast.Name):
                return marker.variable(last.id, value)
            if last is not None:
                return marker.expression(last, value)
    return Origins(value=Mark(file))


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a scope in order, through `if`, `for`, `with` and `try`, not into functions."""
    for statement in body:
        yield statement
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        for part in ("body", "orelse", "finalbody"):
            inner = getattr(statement, part, None)
            if isinstance(inner, list):
                yield from _statements(inner)


class _Marker:
    """Positions of values in one scope."""

    def __init__(self, file: str, body: Sequence[ast.stmt]) -> None:
        self.file = file
        self._values: dict[str, ast.expr] = {}
        self._places: dict[str, ast.expr] = {}
        self._items: list[tuple[str, Path, ast.expr, ast.expr]] = []
        self._following: set[str] = set()
        for statement in _statements(body):
            self._learn(statement)

    def _learn(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            return
        for target in targets:
            if isinstance(target, ast.Name):
                self._values[target.id] = value
                self._places[target.id] = target
                self._items = [item for item in self._items if item[0] != target.id]
            elif isinstance(target, ast.Subscript):
                name, path = _subscript(target)
                if name is not None:
                    self._items.append((name, path, target, value))

    def assigned_at(self, name: str) -> Mark | None:
        place = self._places.get(name)
        return self._mark(place) if place is not None else None

    def variable(self, name: str, value: Any) -> Origins:
        """Positions of a variable's value, with the item assignments made to it later."""
        expression = self._values.get(name)
        if expression is None or name in self._following:
            return Origins(value=self.assigned_at(name) or Mark(self.file))
        self._following.add(name)
        try:
            origins = self.expression(expression, value)
            for owner, path, target, assigned in self._items:
                if owner == name and _holds(value, path):
                    below = self.expression(assigned, _reach(value, path))
                    below.set((), key=self._mark(target))
                    origins.graft(path, below)
            return origins
        finally:
            self._following.discard(name)

    def expression(self, node: ast.expr, value: Any) -> Origins:
        """Positions of a value and its parts, as this expression writes them."""
        if isinstance(node, ast.Name) and node.id in self._values:
            return self.variable(node.id, value)
        origins = Origins(value=self._mark(node))
        if isinstance(value, Mapping):
            for key, place, part in self._pairs(node):
                if key in value:
                    below = self.expression(part, value[key])
                    below.set((), key=self._mark(place))
                    origins.graft((key,), below)
        elif _lists(node, value):
            for index, part in enumerate(node.elts):
                origins.graft((index,), self.expression(part, value[index]))
        return origins

    def _pairs(self, node: ast.expr) -> Iterator[tuple[Any, ast.AST, ast.expr]]:
        """Key, where the key stands, and the value's expression; later ones win."""
        if isinstance(node, ast.Name) and node.id in self._values:
            yield from self._pairs(self._values[node.id])
        elif isinstance(node, ast.Dict):
            for key, part in zip(node.keys, node.values, strict=True):
                if key is None:
                    yield from self._pairs(part)
                elif isinstance(key, ast.Constant):
                    yield key.value, key, part
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            yield from self._pairs(node.left)
            yield from self._pairs(node.right)
        elif _calls_dict(node):
            for part in node.args:
                yield from self._pairs(part)
            for keyword in node.keywords:
                if keyword.arg is None:
                    yield from self._pairs(keyword.value)
                else:
                    yield keyword.arg, keyword, keyword.value

    def _mark(self, node: ast.AST) -> Mark:
        return Mark(self.file, getattr(node, "lineno", 1), getattr(node, "col_offset", 0) + 1)


def _calls_dict(node: ast.expr) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict"


def _lists(node: ast.expr, value: Any) -> TypeGuard[ast.List | ast.Tuple]:
    """Whether this literal writes the items of this sequence one by one."""
    return (
        isinstance(node, (ast.List, ast.Tuple))
        and isinstance(value, (list, tuple))
        and len(node.elts) == len(value)
    )


def _subscript(target: ast.Subscript) -> tuple[str | None, Path]:
    """`cfg["a"][0]` as its variable and path; no variable where a key is computed."""
    path: list[str | int] = []
    node: ast.expr = target
    while isinstance(node, ast.Subscript):
        if not (isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, (str, int))):
            return None, ()
        path.insert(0, node.slice.value)
        node = node.value
    return (node.id, tuple(path)) if isinstance(node, ast.Name) else (None, ())


def _holds(value: Any, path: Path) -> bool:
    try:
        _reach(value, path)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _reach(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value
