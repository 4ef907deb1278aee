"""Where first weights come from, a stage's or a network's, and that rules for names make sense."""

from __future__ import annotations

import re
from typing import Any

from cvtrainer.core.findings import Findings, closest
from cvtrainer.core.tree import Path
from cvtrainer.core.value_types import shown_value


def check_init_from(found: Findings) -> None:
    """Every stage's `init_from`, and every network's `pretrained` that is more than a word."""
    for node in found.nodes:
        block = found.get(node).get("pretrained")
        if isinstance(block, dict):
            if not block.get("source"):
                found.missing((*node, "pretrained"), "source", "say where the weights come from")
            _renaming(found, (*node, "pretrained"), block)
    earlier: list[str] = []
    for index, stage in enumerate(found.data["stages"]):
        path: Path = ("stages", index, "init_from")
        block = stage.get("init_from")
        if isinstance(block, dict):
            _source(found, path, block.get("source"), earlier)
            _renaming(found, path, block)
        earlier.append(str(stage["name"]))


def _source(found: Findings, path: Path, source: Any, earlier: list[str]) -> None:
    """It names an earlier stage, or looks like a file."""
    if source is None:
        found.missing(path, "source", "say where the weights come from")
        return
    place = (*path, "source")
    if not isinstance(source, str) or source in earlier:
        return
    if source == "previous":
        if not earlier:
            found.wrong_value(place, "the first stage has no previous one")
    elif not re.search(r"[./\\]", source):
        known = [*earlier, "previous"]
        what = f"{source!r} is no earlier stage (known: {', '.join(known)}) and no file"
        found.wrong_value(place, what, closest(source, known))


def _renaming(found: Findings, path: Path, block: dict[str, Any]) -> None:
    """Names on both sides are texts, and each `*` of a new one stands for one of the old one."""
    for word in ("networks", "rename"):
        pairs = block.get(word)
        for old, new in pairs.items() if isinstance(pairs, dict) else ():
            place = (*path, word, old)
            if not isinstance(new, str):
                found.wrong_value(place, f"must be a text, not {shown_value(new)}")
            elif word == "rename" and new.count("*") > str(old).count("*"):
                found.wrong_value(place, f"{new!r} has more * than {old!r}")
