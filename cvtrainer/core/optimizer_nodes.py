"""One optimizer or several: `optimizer` is a node, or a mapping from updates to nodes.

A task of several updates (a generator and a discriminator) may give each its own optimizer, under
the update's name or that of its only network. Everybody who reads configs asks here which it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cvtrainer.core.schema import node_words
from cvtrainer.core.tree import Path


def optimizers_by_name(value: Any) -> bool:
    """Whether this is a mapping from names to optimizers, not one optimizer."""
    if not isinstance(value, dict) or not value or set(value) & set(node_words("optimizer")):
        return False
    parts = [part for part in value.values() if part is not None]
    typed = any(isinstance(part, dict) and "type" in part for part in parts)
    return typed and all(isinstance(part, dict | str) for part in parts)


def optimizer_nodes(stage: Mapping[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each optimizer of a stage in normal form, with its path inside the stage."""
    value = stage.get("optimizer")
    if isinstance(value, dict) and "type" in value:
        yield ("optimizer",), value
    elif isinstance(value, dict):
        for name, node in value.items():
            yield ("optimizer", name), node
