"""What deployment targets can do, read from their source: a check imports none of them.

Their table and their records of capabilities are literals. What is not one there is not known here,
and then nothing is said about it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOM = Path(__file__).parents[1] / "deploy"


@dataclass(frozen=True)
class TargetFacts:
    """`precisions` is None where that is not written as a literal."""

    precisions: tuple[str, ...] | None
    runs_here: bool
    rounds_itself: bool = False


def deploy_targets() -> dict[str, TargetFacts]:
    """Every target by its name."""
    runtimes = _table(_ROOM / "runtime" / "runner.py", "RUNTIMES")
    targets = _table(_ROOM / "targets" / "target.py", "TARGETS")
    return {name: _facts(place, runs=name in runtimes) for name, place in targets.items()}


def _facts(place: str, *, runs: bool) -> TargetFacts:
    module = place.partition(":")[0].split(".")
    words = _capabilities(_ROOM.parent.joinpath(*module[1:]).with_suffix(".py"))
    precisions = words.get("precisions")
    known = tuple(precisions) if isinstance(precisions, tuple | list) else None
    runs = runs and words.get("runs_here") is not False
    return TargetFacts(known, runs, words.get("own_int8") is True)


def _table(file: Path, name: str) -> dict[str, str]:
    for node in _parsed(file).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            value = _literal(node.value) if node.target.id == name else None
            if isinstance(value, dict):
                return value
    return {}


def _capabilities(file: Path) -> dict[str, Any]:
    """The words of the first record in the file."""
    calls: Iterator[ast.Call] = (
        node
        for node in ast.walk(_parsed(file))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Capabilities"
    )
    call = next(calls, None)
    return {} if call is None else {str(one.arg): _literal(one.value) for one in call.keywords}


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _literal(node: ast.expr | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None
