"""The parts a config can name, by kind, each with the first line of its description.

Descriptions are read from source text; nothing that is listed gets imported, so that a listing
takes a fraction of a second. What torch, timm and torchvision offer by its own name is only
pointed at.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cvtrainer.core.catalog import REGISTRIES
from cvtrainer.core.errors import UserError
from cvtrainer.core.modules import import_roots
from cvtrainer.core.signature import Signatures
from cvtrainer.core.source_text import read_source
from cvtrainer.core.suggest import nearest
from cvtrainer.core.symbols import Symbol, Symbols

BESIDES: Mapping[str, str] = MappingProxyType(
    {
        "backbone": "any network of timm or torchvision, by its name there",
        "loss": "any loss of torch.nn, by its class name",
        "optimizer": "any optimizer of torch.optim, by its class name",
        "scheduler": "any schedule of torch.optim.lr_scheduler, by its class name",
        "transform": "what the chosen back end offers, by its class name",
    }
)

_OF_NETWORKS = ("model", "backbone", "adapter", "head")


@dataclass(frozen=True)
class Part:
    """One line of the listing."""

    name: str
    target: str
    summary: str
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shelf:
    """All parts of one kind, and what can be named besides."""

    kind: str
    parts: tuple[Part, ...]
    besides: str | None


def list_parts(kind: str | None = None) -> list[Shelf]:
    """The parts of one kind (`hook` or `hooks`), or of every kind that has any."""
    symbols = Symbols(import_roots())
    signatures = Signatures(symbols)
    kinds = list(REGISTRIES) if kind is None else [_kind(kind)]
    shelves = []
    for word in kinds:
        items = REGISTRIES[word].items()
        parts = tuple(
            Part(name, target, _summary(symbols, target), _capabilities(signatures, word, target))
            for name, target in items
        )
        besides = BESIDES.get(word)
        if parts or besides or kind is not None:
            shelves.append(Shelf(word, parts, besides))
    return shelves


def _capabilities(signatures: Signatures, kind: str, target: str) -> tuple[str, ...]:
    """What a part of a network says of itself, which is written as a literal."""
    found = signatures.read(target) if kind in _OF_NETWORKS else None
    said = found.literals.get("CAPABILITIES", ()) if found is not None else ()
    return tuple(map(str, said))


def _kind(word: str) -> str:
    plural = {_plural(kind): kind for kind in REGISTRIES}
    known = {**plural, **{kind: kind for kind in REGISTRIES}}
    if word in known:
        return known[word]
    meant = nearest(word, known)
    hint = f"Did you mean {meant}?" if meant else f"There are {', '.join(REGISTRIES)}."
    raise UserError(f"there is no kind {word!r}", todo=hint)


def _plural(kind: str) -> str:
    return f"{kind}es" if kind.endswith("s") else f"{kind}s"


def _summary(symbols: Symbols, target: str) -> str:
    reached = symbols.target(target).found
    found = reached if isinstance(reached, Symbol) else _class_of_object(symbols, target)
    if found is None:
        return ""
    lines = (ast.get_docstring(found.node) or "").splitlines()
    return lines[0] if lines else ""


def _class_of_object(symbols: Symbols, target: str) -> Symbol | None:
    """For a ready-made object, written `name = Class(...)`, that class."""
    reached = symbols.target(target)
    if reached.module is None or reached.module.source is None:
        return None
    source = read_source(reached.module.source)
    made = re.match(r"(\w+)\(", source.assigned.get(reached.attribute, "")) if source else None
    found = symbols.lookup(reached.module, made[1]) if made else None
    return found if isinstance(found, Symbol) else None
