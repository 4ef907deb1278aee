"""The pages of the documentation and the code in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.architecture.source_tree import ROOT

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENGLISH = ("README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
TRANSLATED = {
    page: "README.zh-CN.md" if page == "README.md" else page.replace("docs/", "docs/zh-CN/")
    for page in ENGLISH
    if page != "docs/experiments.md"
}


@dataclass(frozen=True)
class Snippet:
    """A code block and where it stands."""

    page: str
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"


def snippets(language: str | None = None, pages: tuple[str, ...] = ENGLISH) -> list[Snippet]:
    """All code blocks of these pages, or those in one language."""
    found = []
    for page in pages:
        text = Path(ROOT / page).read_text(encoding="utf-8")
        for number, match in enumerate(FENCE.finditer(text), start=1):
            if language in (None, match[1]):
                found.append(Snippet(page, number, match[1], match[2]))
    return found


def command_lines() -> list[tuple[str, list[str]]]:
    """Every line of every bash block, as page and words."""
    lines = []
    for snippet in snippets("bash"):
        for line in snippet.text.splitlines():
            if line.strip():
                lines.append((str(snippet), line.split()))
    return lines
