"""Plain tables and sparing colour for terminals.

Columns are as wide as their widest cell, numbers stand right-aligned; colour only where somebody
looks at a terminal.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Sequence
from typing import TextIO

_CODES = {"dim": "2", "bold": "1", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """The text in a style, where the stream is a terminal that wants it."""
    stream = stream or sys.stdout
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\033[{_CODES[style]}m{text}\033[0m"


def table(rows: Sequence[Sequence[str]], *, indent: str = "") -> str:
    """Rows as aligned columns; a column of numbers stands to the right."""
    if not rows:
        return ""
    count = max(len(row) for row in rows)
    cells = [[*row, *[""] * (count - len(row))] for row in rows]
    widths = [max(_width(row[column]) for row in cells) for column in range(count)]
    right = [all(_is_number(row[column]) for row in cells) for column in range(count)]
    lines = []
    for row in cells:
        padded = [
            _pad(cell, width, is_right)
            for cell, width, is_right in zip(row, widths, right, strict=True)
        ]
        lines.append((indent + "  ".join(padded)).rstrip())
    return "\n".join(lines)


def number(value: float) -> str:
    """A metric as people read it."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e5 or value == 0 else f"{value:.3e}"


def _pad(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def _width(text: str) -> int:
    """Columns on a terminal; East Asian characters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _is_number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True
