"""What a person gets who installs cvtrainer, from a checkout or from a wheel.

The fresh environment borrows the installed third-party packages, pip among them, through a .pth
file, so that nothing is downloaded; cvtrainer itself is installed into it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.source_tree import sources

NAMED_IN_CONFIGS = {"segmentation-models-pytorch"}
"""Packages of extras whose classes configs name by their path; nothing of ours imports them."""
NEEDED_BY_TORCH = {"onnxscript"}
"""What torch's own exporter imports; our target only asks whether it is there."""
OFFLINE = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet"]


def project(root: Path) -> dict[str, Any]:
    """The [project] table."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    table: dict[str, Any] = settings["project"]
    return table


def names(requirements: list[str]) -> set[str]:
    """Distribution names in a list of requirements, without our own extras."""
    found = {canonicalize_name(Requirement(text).name) for text in requirements}
    return found - {canonicalize_name("cvtrainer")}


def requirement_lines(path: Path) -> list[str]:
    """The requirements in a file, without comments."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def imported_distributions() -> set[str]:
    """Distributions that the package's own imports come from."""
    providers = metadata.packages_distributions()
    found = set()
    for source in sources("cvtrainer"):
        for module, _ in source.imports():
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top in ("cvtrainer", "apps"):
                continue
            assert top in providers, f"{source.name} imports {top}, which nothing installs"
            found.add(canonicalize_name(providers[top][0]))
    return found


@pytest.mark.seed("S0-02")
def test_imports_and_declared_dependencies_agree(root: Path) -> None:
    """Everything imported is declared, and everything declared is imported."""
    table = project(root)
    declared = names(table["dependencies"])
    for extra, requirements in table["optional-dependencies"].items():
        if extra not in ("test", "all"):
            declared |= names(requirements)
    assert imported_distributions() == declared - NAMED_IN_CONFIGS - NEEDED_BY_TORCH


@pytest.mark.seed("S0-02")
def test_requirements_file_resolves_and_is_complete(root: Path) -> None:
    """requirements.txt is the core and the demo, and pip can satisfy it."""
    table = project(root)
    wanted = [*table["dependencies"], *table["optional-dependencies"]["demo"]]
    assert requirement_lines(root / "requirements.txt") == wanted
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-input"]
    files = ["-r", "requirements.txt", "-c", "constraints.txt"]
    done = subprocess.run([*command, *files], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_constraints_pin_what_is_declared(root: Path) -> None:
    """Each dependency has one tested version, inside the declared range."""
    pins = {}
    for line in requirement_lines(root / "constraints.txt"):
        name, version = line.split("==")
        pins[canonicalize_name(name)] = version
    table = project(root)
    declared = [*table["dependencies"]]
    for requirements in table["optional-dependencies"].values():
        declared += requirements
    for requirement in map(Requirement, declared):
        name = canonicalize_name(requirement.name)
        if name != "cvtrainer":
            assert pins[name] in requirement.specifier, name
    assert "://" not in (root / "constraints.txt").read_text(encoding="utf-8")


@pytest.mark.seed("S0-04")
def test_licence_is_mit(root: Path) -> None:
    """The licence's text and the metadata agree."""
    text = (root / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License")
    assert "Permission is hereby granted, free of charge" in text
    assert project(root)["license"] == "MIT"


def test_version_is_the_same_everywhere(root: Path) -> None:
    """pyproject, the package and the changelog name one version."""
    import cvtrainer

    version = project(root)["version"]
    assert cvtrainer.__version__ == version
    assert f"## [{version}]" in (root / "CHANGELOG.md").read_text(encoding="utf-8")


def copy_of(root: Path, target: Path) -> Path:
    """The files that a build needs, so that it leaves nothing in the checkout."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "cvtrainer", target / "cvtrainer", ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, target)
    return target


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a program of a new environment in an empty folder, away from the checkout."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    here = tmp_path / "somewhere"
    here.mkdir()

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [str(home / "bin" / program), *arguments],
            cwd=here,
            env=clean,
            capture_output=True,
            text=True,
            check=True,
        )

    return run


@pytest.mark.long
@pytest.mark.seed("S0-01", "S0-04")
def test_editable_install(
    root: Path, tmp_path: Path, fresh: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """`pip install -e .` gives the package and the command, and says MIT."""
    checkout = copy_of(root, tmp_path / "checkout")
    fresh("python", "-m", "pip", "install", *OFFLINE, "-e", str(checkout))
    shown = fresh("cvtrainer", "--help").stdout
    assert "train" in shown
    assert "eval" in shown
    where = fresh("python", "-c", "import cvtrainer; print(cvtrainer.__file__)").stdout
    assert where.strip() == str(checkout / "cvtrainer" / "__init__.py")
    about = "import importlib.metadata as m; print(m.metadata('cvtrainer')['License-Expression'])"
    assert fresh("python", "-c", about).stdout.strip() == "MIT"


@pytest.mark.long
def test_wheel_scaffolds_a_project_that_checks(
    root: Path, tmp_path: Path, fresh: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """The wheel alone is enough for `new`, and what it writes passes `config check`."""
    checkout = copy_of(root, tmp_path / "checkout")
    wheels = tmp_path / "wheels"
    fresh("python", "-m", "pip", "wheel", *OFFLINE, "-w", str(wheels), str(checkout))
    (wheel,) = wheels.glob("cvtrainer-*.whl")
    fresh("python", "-m", "pip", "install", *OFFLINE, str(wheel))
    fresh("cvtrainer", "new", "shapes")
    fresh("cvtrainer", "config", "check", "apps/shapes/train.yaml")
    device = "from cvtrainer.deploy.devices.device import device_named as d; print(d('stm32h7'))"
    assert "STM32H743" in fresh("python", "-c", device).stdout
