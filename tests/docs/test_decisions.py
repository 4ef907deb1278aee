"""Decision records: listed, short, complete; the one on dependencies names them all."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

RECORD = re.compile(r"\d{4}-[\w-]+\.md")


def test_records_are_listed_short_and_complete(root: Path) -> None:
    """Context, decision, consequences in at most forty lines, and a line in the list."""
    folder = root / "docs" / "decisions"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    records = sorted(path for path in folder.glob("*.md") if RECORD.fullmatch(path.name))
    assert [path.name[:4] for path in records] == [f"{k:04}" for k in range(1, len(records) + 1)]
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert path.name in listed
        assert len(text.splitlines()) <= 40, path.name
        assert re.findall(r"^## (\w+)", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
        ]


def test_every_dependency_has_its_reason(root: Path) -> None:
    """What pyproject.toml asks for at run time stands in the record on dependencies."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = list(project["dependencies"])
    for name, packages in extras.items():
        if name not in ("all", "test"):
            asked += packages
    text = next((root / "docs" / "decisions").glob("0006-*.md")).read_text(encoding="utf-8")
    table = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    for requirement in asked:
        package = re.split(r"[<>=!~\[ ]", requirement)[0]
        assert re.search(rf"\b{re.escape(package)}\b", table), package
