"""What a config wants in a record besides metrics: `optimizer.param_groups.0.lr` and the like.

An item is a path into the running stage (attributes, keys, numbers of a list), or a small
expression of such paths with `and`, `or` and `.get(…)`. It is walked, never evaluated as Python:
there are no calls but `.get`, and no names that begin with an underscore. What is not there gives
no value.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.engine.view import StageView

Item = str | Callable[[StageView], Any]

_NUMBER = re.compile(r"(?<=[A-Za-z_\])])\.(\d+)(?![\w])")
_ROOTS = (
    *("epoch", "step", "samples", "loss", "losses", "meters", "metrics"),
    *("optimizer", "optimizers", "model", "trainer", "clock", "hooks"),
)


class Reading(float):
    """A meter's value so far, also as `.avg`."""

    @property
    def avg(self) -> float:
        return float(self)


class LogItems:
    """Named items; a wrong one is an error before training."""

    def __init__(self, items: Mapping[str, Item]) -> None:
        self._items = {name: _parsed(name, item) for name, item in items.items()}

    def values(self, stage: StageView, metrics: Mapping[str, float]) -> dict[str, float]:
        """Those that are numbers now; `metrics` are the meters of the phase by their names."""
        found: dict[str, float] = {}
        roots = _Roots(stage, metrics)
        for name, item in self._items.items():
            value = item(stage) if not isinstance(item, ast.expr) else _walk(item, roots)
            if value is not None and not isinstance(value, str):
                found[name] = float(value)
        return found


class _Roots(Mapping[str, Any]):
    """Where paths begin; each is looked up when it is asked for."""

    def __init__(self, stage: StageView, metrics: Mapping[str, float]) -> None:
        self._stage = stage
        self._meters = {name.rpartition("/")[2]: Reading(value) for name, value in metrics.items()}

    def __getitem__(self, name: str) -> Any:
        stage = self._stage
        if name == "meters":
            return self._meters
        if name == "samples":
            return stage.clock.samples * stage.trainer.world.world_size
        if name in ("optimizer", "optimizers", "hooks"):
            return getattr(stage.trainer, name)
        if name == "clock":
            return stage.clock
        return stage.get(name)

    def __iter__(self) -> Any:
        return iter(_ROOTS)

    def __len__(self) -> int:
        return len(_ROOTS)


def _parsed(name: str, item: Item) -> ast.expr | Callable[[StageView], Any]:
    if not isinstance(item, str):
        return item
    where = f"hooks.logger.log_items.{name}"
    try:
        tree = ast.parse(_NUMBER.sub(r"[\1]", item.strip()), mode="eval").body
    except SyntaxError as error:
        raise UserError(f"{item!r} is no path ({error.msg})", where=where) from error
    for node in ast.walk(tree):
        problem = _problem(node)
        if problem is not None:
            raise UserError(f"{item!r} has {problem}", where=where, todo="Write a path.")
    return tree


def _problem(node: ast.AST) -> str | None:
    """What may not stand in an item."""
    if isinstance(node, ast.Call):
        plain = isinstance(node.func, ast.Attribute) and node.func.attr == "get"
        return None if plain and not node.keywords else "a call other than .get(…)"
    if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
        return f"the private name {node.attr}"
    if isinstance(node, ast.Name) and node.id not in _ROOTS:
        return f"{node.id!r}, which is none of {', '.join(_ROOTS)}"
    allowed = (ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.BoolOp, ast.boolop)
    fine = isinstance(node, (*allowed, ast.UnaryOp, ast.Not, ast.USub, ast.expr_context))
    return None if fine else f"a {type(node).__name__.lower()}"


def _walk(node: ast.expr, roots: Mapping[str, Any]) -> Any:
    """The value, or None where a part of the path is not there."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return roots[node.id]
    if isinstance(node, ast.BoolOp):
        value: Any = None
        for part in node.values:
            value = _walk(part, roots)
            if bool(value) == isinstance(node.op, ast.Or):
                return value
        return value
    if isinstance(node, ast.UnaryOp):
        inner = _walk(node.operand, roots)
        if isinstance(node.op, ast.Not):
            return not inner
        return None if inner is None else -inner
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Attribute)
        owner = _walk(node.func.value, roots)
        given = [_walk(one, roots) for one in node.args]
        return owner.get(*given) if isinstance(owner, Mapping) else None
    assert isinstance(node, (ast.Attribute, ast.Subscript))
    return _step_into(node, _walk(node.value, roots), roots)


def _step_into(node: ast.Attribute | ast.Subscript, owner: Any, roots: Mapping[str, Any]) -> Any:
    """An attribute, or else a key of that name; a place of a list, or a key."""
    if owner is None:
        return None
    key = node.attr if isinstance(node, ast.Attribute) else _walk(node.slice, roots)
    if isinstance(owner, Mapping) and key in owner:
        return owner[key]
    try:
        return getattr(owner, key) if isinstance(node, ast.Attribute) else owner[key]
    except (AttributeError, LookupError, TypeError):
        return None
