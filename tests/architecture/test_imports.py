"""Who may import whom: the contracts in pyproject.toml, and what they cannot say."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.architecture.source_tree import rooms, sources

CORE_MAY_IMPORT = {"yaml", "cvtrainer"}


def contracts(root: Path) -> list[dict[str, object]]:
    """The import contracts as pyproject.toml states them."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, object]] = settings["tool"]["importlinter"]["contracts"]
    return found


def test_import_contracts_hold(root: Path) -> None:
    """import-linter keeps every contract."""
    command = [sys.executable, "-c", "import importlinter.cli as c; c.lint_imports_command()"]
    done = subprocess.run(
        [*command, "--no-cache"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Contracts: {len(contracts(root))} kept, 0 broken." in done.stdout


def test_every_room_stands_in_the_contracts(root: Path) -> None:
    """A room that no contract names would be free to import anything."""
    layers = str(contracts(root)[0]["layers"])
    missing = [room for room in sorted(rooms()) if f"cvtrainer.{room}" not in layers]
    # ops knows torch and nothing of ours, so it stands in its own contract only.
    assert missing in ([], ["ops"])


def test_core_imports_only_the_standard_library_and_yaml() -> None:
    """Reading a config must cost neither torch nor any other package."""
    wrong = []
    for source in sources("cvtrainer/core"):
        for module, line in source.imports():
            top = module.split(".")[0]
            if top not in CORE_MAY_IMPORT and top not in sys.stdlib_module_names:
                wrong.append(f"{source.name}:{line} imports {module}")
            if top == "cvtrainer" and not module.startswith("cvtrainer.core"):
                wrong.append(f"{source.name}:{line} imports {module}")
    assert not wrong


def test_core_and_command_line_load_without_torch(root: Path) -> None:
    """Importing every module of core and cli leaves torch and numpy unloaded."""
    modules = [
        source.name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for source in sources("cvtrainer/core", "cvtrainer/cli")
        if not source.name.endswith("__main__.py")
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'timm', 'cv2', 'albumentations'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_parts_load_without_torchvision_and_the_compiler(root: Path) -> None:
    """Both take seconds; the parts that need them import them where they do."""
    parts = "data, hooks, jobs.predict, jobs.train, loss, meters, models, optim, tasks"
    code = (
        f"import {', '.join('cvtrainer.' + part for part in parts.split(', '))}, sys\n"
        "print(sorted({'torchvision', 'torch._dynamo'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_only_the_composition_root_turns_names_into_objects() -> None:
    """`import_target` is called in experiment/ and nowhere else."""
    callers = set()
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.attr if isinstance(called, ast.Attribute) else None
                name = called.id if isinstance(called, ast.Name) else name
                if name == "import_target":
                    callers.add(source.room)
    assert callers == {"experiment"}


def test_the_two_halves_meet_only_in_the_composition_root() -> None:
    """Besides experiment and the jobs above it, no file imports from both halves."""
    vision = {"data", "models", "loss", "meters", "tasks"}
    engine = {"hooks", "trainer", "engine", "optim", "ddp", "logger", "context"}
    for source in sources():
        if source.room in ("experiment", "jobs", "__init__"):
            continue
        seen = {
            module.split(".")[1]
            for module, _ in source.imports()
            if module.startswith("cvtrainer.")
        }
        assert not (seen & vision and seen & engine), source.name


PATHS = [
    "core",
    "models",
    "models.backbones",
    "models.adapters",
    "models.heads",
    "data",
    "data.datasets",
    "data.transforms",
    "data.tensorizer",
    "data.collate",
    "optim",
    "hooks",
    "hooks.base",
    "logger",
    "meters",
    "loss",
    "ddp",
    "trainer",
    "context",
]


@pytest.mark.seed("S0-109")
@pytest.mark.parametrize("path", PATHS)
def test_the_promised_layout_imports(path: str) -> None:
    """Each path of the promised layout is a module."""
    module = importlib.import_module(f"cvtrainer.{path}")
    assert module.__doc__
