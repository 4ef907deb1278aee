"""Every planted defect is found, and nothing is said of what is clean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from cvtrainer.data.doctor import CHECKS, Finding, Severity, examine
from tests.data.doctor.worlds import MEMORY_WORLDS, WORLDS, Expected

LOUD = (Severity.ERROR, Severity.WARNING)


def meets(one: Finding, expected: Expected) -> bool:
    text = f"{one.file} {one.what} {one.details}"
    return one.check == expected.check and expected.where in text


def lost(found: Sequence[Finding], expected: Sequence[Expected]) -> list[Expected]:
    return [one for one in expected if not any(meets(other, one) for other in found)]


def strangers(found: Sequence[Finding], expected: Sequence[Expected]) -> list[str]:
    return [
        f"{one.check} {one.line}"
        for one in found
        if one.severity in LOUD and not any(meets(one, other) for other in expected)
    ]


@pytest.mark.parametrize("name", WORLDS)
def test_files(name: str, tmp_path: Path) -> None:
    """Clean files raise nothing; each plant is found under its name, and nothing beside them."""
    world = WORLDS[name]
    world.write(tmp_path)
    clean = examine(world.open(tmp_path), threads=2)
    assert strangers(clean, []) == []
    planted = world.plants(tmp_path)
    found = examine(world.open(tmp_path), threads=2)
    assert lost(found, planted) == []
    assert strangers(found, planted) == []


@pytest.mark.parametrize("name", MEMORY_WORLDS)
def test_own_storages(name: str) -> None:
    """The same for data sets that hold arrays."""
    subjects, _ = MEMORY_WORLDS[name](planted=False)
    assert strangers(examine(subjects, threads=2), []) == []
    subjects, planted = MEMORY_WORLDS[name](planted=True)
    found = examine(subjects, threads=2)
    assert lost(found, planted) == []
    assert strangers(found, planted) == []


def test_many_kinds_are_planted(tmp_path: Path) -> None:
    """The plants above are of at least twenty-five kinds, all of which the table names."""
    kinds = set()
    for name, world in WORLDS.items():
        world.write(tmp_path / name)
        kinds |= {one.check for one in world.plants(tmp_path / name)}
    for make in MEMORY_WORLDS.values():
        kinds |= {one.check for one in make(planted=True)[1]}
    assert kinds <= set(CHECKS)
    assert len(kinds) >= 50


def test_every_check_of_the_table_can_be_told(root: Path) -> None:
    """No id stands in the table alone."""
    folder = root / "cvtrainer" / "data" / "doctor"
    places = [*folder.glob("*.py"), root / "cvtrainer" / "jobs" / "data" / "doctor.py"]
    text = "".join(path.read_text() for path in places if path.name != "finding.py")
    assert [check for check in CHECKS if f'"{check}"' not in text] == []
