"""The documents: all six are there, and no relative link in them is dead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.source_tree import ROOT

SIX = ("README", "architecture", "api", "best_practices", "contributing", "changelog")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+\s+(.*?)\s*#*$", re.MULTILINE)


def documents() -> list[Path]:
    """README files, docs and the Markdown beside benchmarks and apps."""
    found = [*ROOT.glob("*.md")]
    for folder in ("docs", "benchmarks", "apps", "configs"):
        found += (ROOT / folder).rglob("*.md")
    return sorted(found)


def links(text: str) -> Iterator[str]:
    """Targets of links outside code blocks."""
    for match in LINK.finditer(FENCE.sub("", text)):
        yield match[1] or match[2]


def anchors(text: str) -> set[str]:
    """Headings as the fragments that links use for them."""
    found = set()
    for title in HEADING.findall(FENCE.sub("", text)):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
        found.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return found


@pytest.mark.seed("S0-03")
@pytest.mark.parametrize("name", SIX)
def test_the_six_documents_exist(root: Path, name: str) -> None:
    """Each is there, says something, and is linked from both front pages."""
    text = (root / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert len(text.split()) > 50
    for front in ("README.md", "README.zh-CN.md"):
        assert f"docs/{name}.md" in (root / front).read_text(encoding="utf-8")


@pytest.mark.seed("S0-03")
def test_no_relative_link_is_dead(root: Path) -> None:
    """Every relative link leads to a file, and every fragment to a heading."""
    dead, checked = [], 0
    for document in documents():
        for target in links(document.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, fragment = target.partition("#")
            place = document if not path else (document.parent / path).resolve()
            checked += 1
            if not place.exists():
                dead.append(f"{document.relative_to(root)}: {target}")
            elif (
                fragment
                and place.suffix == ".md"
                and fragment not in anchors(place.read_text(encoding="utf-8"))
            ):
                dead.append(f"{document.relative_to(root)}: {target} (no such heading)")
    assert not dead
    assert checked >= len(SIX)
