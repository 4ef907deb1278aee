"""The two commands that the README promises, and the script that checks a submission."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

TARGETS = ("demo", "test", "test-all", "check", "bench", "seed-report", "clean")


def test_the_makefile_has_the_promised_targets(root: Path) -> None:
    """Each is declared, and `make help` speaks of it."""
    text = (root / "Makefile").read_text(encoding="utf-8")
    for target in TARGETS:
        assert re.search(rf"^{target}:", text, re.MULTILINE), target
        assert f'"make {target} ' in text, target


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
@pytest.mark.parametrize("target", TARGETS)
def test_targets_expand(root: Path, target: str, tmp_path: Path) -> None:
    """make understands each target; nothing is run."""
    line = ["make", "--dry-run", target, f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_front_pages_name_the_two_commands(root: Path) -> None:
    """A reader finds `make demo` and the tests' commands in both languages."""
    for name in ("README.md", "README.zh-CN.md"):
        text = (root / name).read_text(encoding="utf-8")
        for command in ("make demo", "make test", "make test-all"):
            assert command in text, f"{name}: {command}"


def test_the_ci_script_uses_the_readmes_command(root: Path) -> None:
    """It may be run as it is, and makes its own environment for the whole suite."""
    script = root / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    assert re.search(r"^make test-all VENV=", text, re.MULTILINE)
    assert "mktemp -d" in text
