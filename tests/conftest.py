"""What every test gets: no network, one numeric thread, and a checkout on the module path.

The environment is changed before any test module is imported, so that child processes (training
runs, workers, ranks) inherit it. The seed report lives in seed_report.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
GUARD = Path(__file__).resolve().parent / "network_guard"

for _folder in (str(ROOT), str(GUARD)):
    if _folder not in sys.path:
        sys.path.append(_folder)

from guard import install as block_network  # noqa: E402

from tests import seed_report  # noqa: E402


def _prepare_environment() -> None:
    """Children find this checkout, stay off the network and use one numeric thread each."""
    path = os.environ.get("PYTHONPATH", "")
    parts = [str(GUARD), str(ROOT), *(p for p in path.split(os.pathsep) if p)]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(parts))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["WANDB_MODE"] = "offline"
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"


_prepare_environment()
block_network()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --seed-report."""
    seed_report.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the seed report where it was asked for."""
    if config.getoption("--seed-report"):
        config.option.collectonly = True
        config.pluginmanager.register(seed_report.SeedReport(), "cvtrainer-seed-report")


@pytest.fixture
def root() -> Path:
    """The checkout's folder."""
    return ROOT


@pytest.fixture(autouse=True)
def _names_of_one_test() -> Iterator[None]:
    """What a test registers is gone with it: others compare whole catalogs."""
    from cvtrainer.core.catalog import REGISTRIES

    kept = [
        (table, dict(table)) for one in REGISTRIES.values() for table in (one._added, one._objects)
    ]
    yield
    for table, before in kept:
        table.clear()
        table.update(before)


def _lies_below(folder: str, module: object) -> bool:
    known = vars(module) if isinstance(module, ModuleType) else {}
    places = [known.get("__file__"), *(known.get("__path__") or ())]
    return any(str(place).startswith(folder) for place in places)


@pytest.fixture(autouse=True, scope="module")
def _modules_of_one_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests of a file wrote and imported is forgotten: others use the same names."""
    before, temporary = set(sys.modules), str(tmp_path_factory.getbasetemp())
    yield
    # All are looked at before the first goes: a namespace package's path asks for its parent.
    new = set(sys.modules) - before
    written = {name for name in new if _lies_below(temporary, sys.modules[name])}
    for name in new:
        if any(name == one or name.startswith(f"{one}.") for one in written):
            del sys.modules[name]
