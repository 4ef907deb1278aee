"""`cvtrainer doctor`: what it finds on this machine, and what it says on a worse one."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from cvtrainer.jobs import doctor
from cvtrainer.jobs.doctor import Verdict, examine, is_fit


def test_this_machine_is_fit() -> None:
    """Where the tests run, everything needed is there."""
    findings = examine()
    assert is_fit(findings)
    topics = {finding.topic for finding in findings}
    assert {"python", "torch", "device cpu", "disk", "run folder", "processors"} <= topics


def test_packages_are_those_declared(root: Path) -> None:
    """The doctor asks for exactly what the project declares."""
    table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {Requirement(text).name.lower() for text in table["dependencies"]}
    assert {name.lower() for name in doctor.REQUIRED} == declared
    extras = table["optional-dependencies"]
    for package, (extra, _) in doctor.OPTIONAL.items():
        assert package in {Requirement(text).name for text in extras[extra]}
    assert {extra for extra, _ in doctor.OPTIONAL.values()} == set(extras) - {"all", "test"}


def test_a_missing_extra_names_the_line_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Optional packages are a note, never a fault."""
    monkeypatch.setitem(doctor.OPTIONAL, "no-such-package", ("wandb", "the W&B logger"))
    (finding,) = [one for one in examine() if one.topic == "no-such-package"]
    assert finding.verdict is Verdict.NOTE
    assert finding.todo is not None
    assert 'pip install "cvtrainer[wandb]"' in finding.todo


def test_a_missing_requirement_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """What training cannot do without makes the machine unfit."""
    monkeypatch.setattr(doctor, "REQUIRED", ("no-such-package",))
    findings = examine()
    assert not is_fit(findings)
    assert any(one.todo == "pip install no-such-package" for one in findings)


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="needs Unix permissions")
def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    """A run folder that is a file, or that is closed, is found before training."""
    closed = tmp_path / "runs"
    closed.mkdir(mode=0o500)
    if os.access(closed, os.W_OK):
        pytest.skip("this user may write everywhere")
    assert not is_fit(examine(tmp_path))


def test_exit_code_and_output() -> None:
    """The verb prints the findings and succeeds on a fit machine."""
    line = [sys.executable, "-m", "cvtrainer.cli", "doctor"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "device cpu" in done.stdout
