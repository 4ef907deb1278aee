"""How a transform is written in a list: a name, `{type, kwargs}`, or all in one mapping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvtrainer.core.errors import UserError


def transform_node(
    item: str | Mapping[str, Any], place: int, *, word: str = "type"
) -> tuple[str, dict[str, Any]]:
    """Its name and arguments; `word` is the other key that may hold the name."""
    if isinstance(item, str):
        return item, {}
    node = dict(item)
    alias = node.pop("name", None)
    name = node.pop("type", alias if word == "name" else None)
    if not isinstance(name, str):
        raise UserError(f"transform {place} has no {word}", todo=f'Write {{{word}: "Resize", …}}.')
    arguments = dict(node.pop("kwargs", None) or {})
    return name, {**node, **arguments}
