"""Which hooks are called at which point, and in what order, read from their source.

Overriding a point is subscribing to it, so the classes' method names are enough; nothing of them is
imported. What a class inherits from a base whose source cannot be read is not seen.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cvtrainer.core.catalog import ADDED_HOOKS
from cvtrainer.core.compile import compile_config
from cvtrainer.core.modules import import_roots
from cvtrainer.core.symbols import Symbol, Symbols
from cvtrainer.engine.points import POINTS, Rank

_ROOT = "cvtrainer.hooks.base:BaseHook"
_GATE = {"name": "deploy", "type": "cvtrainer.jobs.gate.hook:DeployGate"}


@dataclass(frozen=True)
class Listeners:
    """A point of a stage and the names of the hooks called there, in order."""

    stage: str
    point: str
    hooks: tuple[str, ...]


def hook_table(config: str, *, overrides: Sequence[str] = ()) -> list[Listeners]:
    """Every point at which somebody listens, stage after stage."""
    compiled = compile_config(config, overrides)
    symbols = Symbols(import_roots(compiled.path))
    rows = []
    for stage in compiled.resolved["stages"]:
        hooks = [_read(node, symbols) for node in [*stage["hooks"], *_added(stage)]]
        hooks.sort(key=lambda hook: hook.rank)
        for point in POINTS:
            names = tuple(hook.name for hook in hooks if point in hook.points)
            if names:
                rows.append(Listeners(stage["name"], point, names))
    return rows


def _added(stage: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What the stage gets besides the hooks it names."""
    classes = {str(node["type"]).rpartition(":")[2] for node in stage["hooks"]}
    added = [node for node in ADDED_HOOKS if node["type"].rpartition(":")[2] not in classes]
    return [*added, *([_GATE] if stage.get("deploy") else [])]


@dataclass
class _Hook:
    name: str
    rank: Rank
    points: frozenset[str]


def _read(node: Mapping[str, Any], symbols: Symbols) -> _Hook:
    found = symbols.target(node["type"]).found
    points: set[str] = set()
    ranks: list[Rank] = []
    if isinstance(found, Symbol):
        _learn(found, symbols, points, ranks)
    return _Hook(node["name"], ranks[0] if ranks else Rank.DECIDE, frozenset(points))


def _learn(symbol: Symbol, symbols: Symbols, points: set[str], ranks: list[Rank]) -> None:
    """Gather what a class and its bases override, the class itself first."""
    if symbol.qualified == _ROOT or not isinstance(symbol.node, ast.ClassDef):
        return
    for statement in symbol.node.body:
        if isinstance(statement, ast.FunctionDef):
            if statement.name in POINTS:
                points.add(statement.name)
            continue
        for name, value in _assigned(statement):
            if (
                name == "rank"
                and isinstance(value, ast.Attribute)
                and value.attr in Rank.__members__
            ):
                ranks.append(Rank[value.attr])
            elif name in POINTS:
                points.add(name)
    for base in symbol.node.bases:
        inherited = symbols.resolve(symbol.module, ast.unparse(base))
        if isinstance(inherited, Symbol) and inherited.qualified != symbol.qualified:
            _learn(inherited, symbols, points, ranks)


def _assigned(statement: ast.stmt) -> list[tuple[str, ast.expr]]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    elif isinstance(statement, ast.Assign):
        targets = statement.targets
    else:
        return []
    value = statement.value
    return [(one.id, value) for one in targets if isinstance(one, ast.Name) and value is not None]
