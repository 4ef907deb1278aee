"""The data page names all there is: storages, rules, vocabulary, checks, in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cvtrainer.core import catalog
from cvtrainer.data.datasets.tasks import FIELDS_OF_TASK
from cvtrainer.data.doctor import CHECKS
from cvtrainer.data.transforms import vocabulary
from cvtrainer.pictures.rules import RULES

PAGES = ("data.md", "zh-CN/data.md")
KINDS = (
    catalog.DATASETS,
    catalog.SAMPLERS,
    catalog.MIXERS,
    catalog.DEVICE_STEPS,
    catalog.TENSORIZERS,
)


def rows(path: Path) -> list[list[str]]:
    """The cells of every row of every table."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [[c.strip() for c in ln.strip("|").split("|")] for ln in lines if ln.startswith("| ")]


def test_rules_of_decoding_and_checks_are_quoted(root: Path) -> None:
    """Word for word."""
    written = [tuple(cells) for cells in rows(root / "docs" / "data.md")]
    for rule in RULES.items():
        assert rule in written
    for name, (severity, meaning) in CHECKS.items():
        assert (f"`{name}`", severity.value, meaning) in written


@pytest.mark.parametrize("page", PAGES)
def test_checks_have_their_severity(root: Path, page: str) -> None:
    """All of them in the order of the table, and no other."""
    text = (root / "docs" / page).read_text(encoding="utf-8")
    table = text.partition("<!-- checks -->")[2].strip().partition("\n\n")[0]
    found = re.findall(r"^\| `([\w-]+)` \| (\w+) \|", table, re.MULTILINE)
    assert found == [(name, severity.value) for name, (severity, _) in CHECKS.items()]


@pytest.mark.parametrize("page", PAGES)
def test_every_short_name_has_a_row(root: Path, page: str) -> None:
    """Storages, samplers, mixers, device steps, tensorizers; tasks and transforms."""
    tables = rows(root / "docs" / page)
    first = {name for cells in tables for name in re.findall(r"`(\w+)`", cells[0])}
    for kind in KINDS:
        ours = [name for name, target in kind.items() if target.startswith("cvtrainer.")]
        for name in ours:
            assert name in first or name == "tensorizer", f"{kind.kind} {name}"
    assert set(FIELDS_OF_TASK) <= {cells[0] for cells in tables}
    named = {name for cells in tables for name in re.findall(r"`(\w+)`", " ".join(cells))}
    assert set(vocabulary.__all__) <= named
