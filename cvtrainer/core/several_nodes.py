"""One part or several by name: `optimizer` and `criterion` are a node, or a mapping to nodes.

A task of several updates (a generator and a discriminator) may give each its own optimizer, under
the update's name or that of its only network; losses may be several, each under a name of its own.
Everybody who reads configs asks here which it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cvtrainer.core.schema import node_words
from cvtrainer.core.tree import Path


def given_by_name(value: Any, kind: str) -> bool:
    """Whether this is a mapping from names to nodes of that kind, not one node."""
    if not isinstance(value, dict) or not value or set(value) & set(node_words(kind)):
        return False
    return any(isinstance(part, dict) and "type" in part for part in value.values())


def several_nodes(stage: Mapping[str, Any], key: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each node at that key of a stage in normal form, with its path inside the stage."""
    value = stage.get(key)
    if isinstance(value, dict) and "type" in value:
        yield (key,), value
    elif isinstance(value, dict):
        for name, node in value.items():
            yield (key, name), node
