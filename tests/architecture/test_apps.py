"""apps/ and configs/: users write a model and YAML, never a loop."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from cvtrainer.core.compose import compose
from cvtrainer.core.load import load_file
from tests.architecture.source_tree import sources

LOOP_CALLS = {"backward", "zero_grad", "step", "train", "DataLoader"}


@pytest.mark.seed("S0-05")
def test_apps_hold_no_training_loop() -> None:
    """No app steps an optimizer, calls backward or builds a loader."""
    apps = sources("apps")
    assert {Path(source.name).parts[1] for source in apps} >= {"cifar10_demo", "digits"}
    for source in apps:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.attr if isinstance(called, ast.Attribute) else ""
                name = called.id if isinstance(called, ast.Name) else name
                assert name not in LOOP_CALLS, f"{source.name}:{node.lineno}"


@pytest.mark.seed("S0-05")
@pytest.mark.parametrize("name", ["cifar10_demo", "digits"])
def test_an_app_is_a_model_and_yaml(root: Path, name: str) -> None:
    """What an app needs is a model and its configs."""
    folder = root / "apps" / name
    assert (folder / "train.yaml").is_file()
    assert (folder / "eval.yaml").is_file()
    scripts = {path.name for path in folder.glob("*.py")} - {"__init__.py"}
    assert scripts <= {"model.py", "dataset.py"}


@pytest.mark.seed("S0-66")
def test_shared_templates_load(root: Path) -> None:
    """Each file of configs/common loads and composes; the promised names are among them."""
    files = sorted((root / "configs" / "common").rglob("*.yaml"))
    keys: set[str] = set()
    for path in files:
        keys |= set(compose(load_file(path), path).data)
    assert {"aug_light", "aug_medium", "aug_heavy"} <= keys
    assert any("tensorizer" in key for key in keys)
