"""Files, functions and constructors stay small; a recorded decision excuses what does not.

The list of what is over is printed. Excuses are the rows of docs/decisions/size-excuses.md, and an
excuse that is no longer needed is an error too.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.architecture.source_tree import Function, sources

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_CONSTRUCTOR_PARAMETERS = 8
FOLDERS = ("cvtrainer", "apps", "benchmarks")
EXCUSE = re.compile(r"^\| `([^`]+)` \| \d+ \| \S", re.MULTILINE)


def parameter_count(function: Function) -> int:
    """Parameters a caller can give, without self."""
    arguments = function.args
    return len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs) - 1


def oversized() -> dict[str, int]:
    """What is over the aims, by place."""
    over: dict[str, int] = {}
    for source in sources(*FOLDERS):
        lines = len(source.text.splitlines())
        if lines > MAX_FILE_LINES:
            over[source.name] = lines
        for name, function in source.functions():
            length = (function.end_lineno or function.lineno) - function.lineno + 1
            if length > MAX_FUNCTION_LINES:
                over[f"{source.name}:{name}"] = length
        for node in source.classes():
            for child in node.body:
                if isinstance(child, ast.FunctionDef) and child.name == "__init__":
                    count = parameter_count(child)
                    if count > MAX_CONSTRUCTOR_PARAMETERS:
                        over[f"{source.name}:{node.name}()"] = count
    return over


def test_sizes(root: Path) -> None:
    """Nothing is over the aims without a recorded reason."""
    over = oversized()
    for place, size in sorted(over.items()):
        print(f"{size:>6}  {place}")
    text = (root / "docs" / "decisions" / "size-excuses.md").read_text(encoding="utf-8")
    excused = set(EXCUSE.findall(text))
    assert set(over) - excused == set(), "over the aims without a recorded decision"
    assert excused - set(over) == set(), "excuses that are no longer needed"
