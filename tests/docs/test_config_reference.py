"""The config reference says exactly what the skeleton's tables say, in both languages."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from cvtrainer import hooks, logger
from cvtrainer.core.schema import (
    ALIASES,
    LOSS_WORDS,
    METER_WORDS,
    NETWORK_WORDS,
    NODE_WORDS,
    OPTIMIZER_WORDS,
    SECTIONS,
    Form,
    Key,
)
from cvtrainer.engine.points import POINTS, Rank

NODE = {**NODE_WORDS, **OPTIMIZER_WORDS, **LOSS_WORDS, **METER_WORDS, **NETWORK_WORDS}
TABLES = {**SECTIONS, "node": NODE}
TABLE = re.compile(r"<!-- keys: (\w+) -->\n+(.*?)\n\n", re.DOTALL)


def default(key: Key) -> str:
    """How a default is written in the reference."""
    if key.default is None:
        return ""
    text = str(key.default).lower() if isinstance(key.default, bool) else str(key.default)
    return f"`{text}`"


def row(key: Key) -> str:
    """A line of the reference; the tables of docs/config.md hold these and nothing else."""
    form = key.form.value
    if key.form in (Form.NODE, Form.NODES, Form.SECTION, Form.SECTIONS):
        form = f"{form}: {key.of}"
    unit = f" ({key.unit})" if key.unit else ""
    choices = f" One of {', '.join(key.choices)}." if key.choices else ""
    meaning = key.doc.replace("<", "\\<")
    return f"| `{key.name}` | {form}{unit} | {default(key)} | {meaning}{choices} |"


def tables(path: Path) -> dict[str, list[str]]:
    """The rows of each marked table of a page."""
    found = TABLE.findall(path.read_text(encoding="utf-8"))
    return {name: body.splitlines()[2:] for name, body in found}


@pytest.mark.parametrize("name", TABLES)
def test_every_key_is_in_the_reference(root: Path, name: str) -> None:
    """Keys, forms, defaults and meanings, in the order of the tables."""
    written = tables(root / "docs" / "config.md")[name]
    assert written == [row(key) for key in TABLES[name].values()]


@pytest.mark.parametrize("name", TABLES)
def test_the_chinese_reference_has_the_same_keys(root: Path, name: str) -> None:
    """Same keys with the same defaults; the meaning is in Chinese."""
    written = tables(root / "docs" / "zh-CN" / "config.md")[name]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in written]
    assert [(c[0], c[2]) for c in cells] == [
        (f"`{k.name}`", default(k)) for k in TABLES[name].values()
    ]
    assert all(re.search(r"[\u4e00-\u9fff]", cell[3]) for cell in cells)


@pytest.mark.parametrize("page", ["config.md", "zh-CN/config.md"])
def test_other_spellings_are_mentioned(root: Path, page: str) -> None:
    """Spellings that the normal form does not have."""
    text = (root / "docs" / page).read_text(encoding="utf-8")
    for words in ALIASES.values():
        for word in words:
            assert f"`{word}`" in text


@pytest.mark.parametrize("page", ["api.md", "zh-CN/api.md"])
def test_points_and_ranks_are_in_the_api_page(root: Path, page: str) -> None:
    """All sixteen points and all ranks, ranks in their order."""
    text = (root / "docs" / page).read_text(encoding="utf-8")
    for point in POINTS:
        assert f"`{point}`" in text
    places = [text.index(f"| `{rank.name}` |") for rank in Rank]
    assert places == sorted(places)


@pytest.mark.parametrize("page", ["api.md", "zh-CN/api.md"])
def test_arguments_of_hooks_and_loggers_are_in_the_api_page(root: Path, page: str) -> None:
    """Each shipped hook and logger has a row that names all its arguments and no other."""
    text = (root / "docs" / page).read_text(encoding="utf-8")
    shipped = [(name, getattr(hooks, name)) for name in hooks.__all__ if name.endswith("Hook")]
    shipped += [(name, getattr(logger, name)) for name in logger.__all__ if name.endswith("Logger")]
    assert len(shipped) >= 10
    for name, kind in shipped:
        if name == "BaseHook":
            continue
        line = re.search(rf"^\| `{name}` \| (.*) \|$", text, re.MULTILINE)
        assert line is not None, name
        named = set(re.findall(r"`(\w+)`", line[1]))
        parameters = set(inspect.signature(kind).parameters)
        assert parameters <= named, name
        choices = {"epoch", "step", "max", "min", "nccl", "gloo"}
        assert named - parameters <= choices, name
