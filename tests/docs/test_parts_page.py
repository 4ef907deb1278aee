"""The API page names every backbone, adapter, head, loss and meter by its short name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cvtrainer.core import catalog

KINDS = (catalog.BACKBONES, catalog.ADAPTERS, catalog.HEADS, catalog.LOSSES, catalog.METERS)


@pytest.mark.parametrize("page", ["api.md", "zh-CN/api.md"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_short_name_has_a_row(root: Path, page: str, kind: catalog.Registry) -> None:
    text = (root / "docs" / page).read_text(encoding="utf-8")
    first = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    named = {name for cell in first for name in re.findall(r"`(\w+)`", cell)}
    ours = {name for name, target in kind.items() if target.startswith("cvtrainer.")}
    assert ours - named == set()
