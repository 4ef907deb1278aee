"""House rules that a linter does not know: names, leftovers, side effects, the environment."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source_tree import ROOT, Source, sources

VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
KEEPS_ITS_NAME = "cvtrainer/hooks/base.py"
MAY_READ_ENVIRONMENT = (
    "cvtrainer/cli/",
    "cvtrainer/ddp/",
    # Switches albumentations' look-up of its newest version off while importing it, and back.
    "cvtrainer/data/transforms/native_albumentations.py",
    # Tells ONNX Runtime to report to nobody.
    "cvtrainer/deploy/private.py",
)
TEXT = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".tsv", ".cfg", ".sh", ".json", ""}
SKIP = {".git", ".venv", "build", "dist", "runs", "logs", "checkpoints", "wandb", "data"}

# Spelt in two halves, so that this file does not find itself.
LEFTOVERS = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:ro" r"ot|ho" r"me|wo" r"rk|Us" r"ers|opt)/\w")


def text_files() -> Iterator[Path]:
    """Text files of the checkout, without what runs and builds leave behind."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") and part != ".ci" for part in parts)
        made = parts[0] in SKIP or "__pycache__" in parts or parts[0].endswith(".egg-info")
        if path.is_file() and not hidden and not made and path.suffix in TEXT:
            yield path


def test_modules_say_what_they_are_for() -> None:
    """No module or folder is a drawer for leftovers."""
    for source in sources():
        parts = set(Path(source.name).with_suffix("").parts)
        assert source.name == KEEPS_ITS_NAME or not parts & VAGUE, source.name


def test_every_module_says_why_it_exists() -> None:
    """Each module starts with a docstring."""
    silent = [s.name for s in sources("cvtrainer", "benchmarks", "apps") if not _documented(s)]
    assert not silent


def _documented(source: Source) -> bool:
    return not source.tree.body or bool(ast.get_docstring(source.tree))


def test_constructors_state_their_arguments() -> None:
    """A public constructor's signature is the config schema, so it takes no **kwargs."""
    for source in sources():
        for node in source.classes():
            for child in node.body:
                if isinstance(child, ast.FunctionDef) and child.name == "__init__":
                    open_ended = child.args.kwarg is not None
                    assert node.name.startswith("_") or not open_ended, (
                        f"{source.name}: {node.name}"
                    )


def test_importing_a_module_does_nothing() -> None:
    """No module calls something for its effect while it is imported."""
    for source in sources():
        for node in source.tree.body:
            effect = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            assert not effect, f"{source.name}:{node.lineno}"
            assert not isinstance(node, ast.For | ast.While | ast.With), (
                f"{source.name}:{node.lineno}"
            )


def test_only_the_edges_read_the_environment() -> None:
    """Configuration that no config file shows is read in cli and ddp alone."""
    for source in sources():
        if source.name.startswith(MAY_READ_ENVIRONMENT):
            continue
        for node in ast.walk(source.tree):
            assert not _reads_environment(node), f"{source.name}:{getattr(node, 'lineno', 0)}"


def _reads_environment(node: ast.AST) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        called = ast.unparse(node.func)
        return called in ("os.getenv", "os.environ.get")
    if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        return ast.unparse(node.value) == "os.environ"
    return False


@pytest.mark.parametrize("pattern", [LEFTOVERS, MACHINE_PATHS], ids=["leftovers", "machine-paths"])
def test_no_leftovers_and_no_machine_paths(pattern: re.Pattern[str]) -> None:
    """Nothing is left to do later, and nothing names a place on somebody's machine."""
    found = []
    for path in text_files():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found
