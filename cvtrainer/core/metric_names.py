"""Names of metrics: what a meter will produce, and which one people mean.

Stored names are `<phase>/<name>`. `val_accuracy`, `accuracy` and `val_accuracy_top1` all mean
`val/accuracy`; without a phase, validation is meant. A meter's `PRODUCES` is a literal, so that a
config check knows the names without importing the meter; `{word}` in it expands over that
argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_PHASES = {"train": "train", "val": "val", "valid": "val", "test": "test"}
_WORD = re.compile(r"\{(\w+)\}")


def find_metric(name: str, known: Iterable[str], *, phase: str = "val") -> str | None:
    """The stored name that is meant, or None."""
    known = set(known)
    spellings = [name, f"{phase}/{name}"]
    if "_" in name and "/" not in name:
        head, _, tail = name.partition("_")
        spellings += [f"{head}/{tail}", f"{_PHASES.get(head, head)}/{tail}"]
    spellings += [spelling.removesuffix("_top1") for spelling in list(spellings)]
    return next((spelling for spelling in spellings if spelling in known), None)


def spellings_of(name: str) -> list[str]:
    """The ways in which people write a stored name, for near matches."""
    phase, _, rest = name.partition("/")
    return [f"{phase}_{rest}", name] if phase != "val" else [f"{phase}_{rest}", name, rest]


def produced_names(produces: Iterable[str], arguments: Mapping[str, Any]) -> list[str] | None:
    """What a meter with these arguments gives; None where an argument is not known."""
    names: list[str] = []
    for form in produces:
        words = _WORD.findall(form)
        if not words:
            names.append(form)
            continue
        if any(word not in arguments for word in words):
            return None
        value = arguments[words[0]]
        for item in value if isinstance(value, list | tuple) else [value]:
            names.append(form.replace(f"{{{words[0]}}}", str(item)))
    return names
