"""Follow a name through modules to the class or function it stands for, importing nothing.

Re-exports of a package's `__init__` are followed (`from .x import Y as Z`, plain aliases,
`import *`), as are names that a file imports from elsewhere. The answer is a definition, a module,
"missing" where the source shows that there is no such name, or "unknown" where it cannot tell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cvtrainer.core.modules import (
    Module,
    child_modules,
    find_file,
    find_module,
    module_in,
    split_target,
)
from cvtrainer.core.source_text import Definition, Import, SourceText, read_source
from cvtrainer.core.suggest import nearest

_ALIAS = re.compile(r"([A-Za-z_][\w.]*)\s*(?:#.*)?$")
_DEPTH = 12


class Unfound(Enum):
    """Why there is no definition: it is not there, or reading text cannot tell."""

    MISSING = "missing"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Symbol:
    """A class or function and the module it is written in."""

    module: Module
    name: str
    node: Definition

    @property
    def qualified(self) -> str:
        """`module:Name`."""
        return f"{self.module.name}:{self.name}"


@dataclass(frozen=True)
class Target:
    """What a type's text turned out to name."""

    text: str
    found: Symbol | Module | Unfound
    module: Module | None
    attribute: str
    rest: tuple[str, ...] = ()

    @property
    def missing_module(self) -> bool:
        """Whether it already fails at the module."""
        return self.found is Unfound.MISSING and bool(self.rest)


class Symbols:
    """Names as seen from one config: its folders come first when looking for modules."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)
        self._targets: dict[str, Target] = {}
        self._modules: dict[str, tuple[Module | None, tuple[str, ...]]] = {}

    def target(self, text: str) -> Target:
        """What an import path names."""
        if text not in self._targets:
            self._targets[text] = self._target(text)
        return self._targets[text]

    def module(self, dotted: str) -> tuple[Module | None, tuple[str, ...]]:
        """The deepest module of a dotted name, and what is left of the name."""
        if dotted not in self._modules:
            self._modules[dotted] = find_module(dotted, self.roots)
        return self._modules[dotted]

    def lookup(self, module: Module, name: str, depth: int = 0) -> Symbol | Module | Unfound:
        """What `name` stands for inside a module."""
        source = read_source(module.source) if module.source else None
        if module.compiled or depth > _DEPTH:
            return Unfound.UNKNOWN
        if source is None:
            return self._child(module, name) or Unfound.MISSING
        node = source.definition(name) if name in source.defined else None
        if node is not None:
            return Symbol(module, name, node)
        if name in source.imports:
            return self._imported(module, source.imports[name], depth)
        if name in source.assigned:
            return self._alias(module, source.assigned[name], depth)
        return self._elsewhere(module, source, name, depth)

    def resolve(self, module: Module, dotted: str, depth: int = 0) -> Symbol | Module | Unfound:
        """What a dotted expression such as `nn.Module` stands for inside a module."""
        parts = dotted.split(".")
        found = self.lookup(module, parts[0], depth)
        for part in parts[1:]:
            if not isinstance(found, Module):
                return Unfound.UNKNOWN
            found = self.lookup(found, part, depth + 1)
        return found

    def known_names(self, module: Module) -> list[str]:
        """Names that a module offers, for near matches."""
        source = read_source(module.source) if module.source else None
        names = source.names() if source else []
        for star in source.stars if source else ():
            other = self._from(module, star)
            if other is not None and other.source is not None:
                text = read_source(other.source)
                names.extend(text.names() if text else [])
        return [*names, *child_modules(module.folders)]

    def _target(self, text: str) -> Target:
        parts = split_target(text)
        if parts.file is not None:
            path = find_file(parts.file, self.roots)
            if path is None:
                return Target(text, Unfound.MISSING, None, parts.file, (parts.file,))
            module, rest = Module(parts.file, path), parts.attributes
        else:
            reached, left = self.module(parts.module)
            rest = (*left, *parts.attributes)
            if reached is None or (left and parts.attributes):
                return Target(text, Unfound.MISSING, reached, left[0] if left else "", left)
            module = reached
        if not rest:
            return Target(text, module, module, "")
        if module.source is None and not module.compiled:
            return Target(text, Unfound.MISSING, module, rest[0], rest)
        if len(rest) > 1:
            return self._nested(text, module, rest)
        return Target(text, self.lookup(module, rest[0]), module, rest[0])

    def _nested(self, text: str, module: Module, rest: tuple[str, ...]) -> Target:
        """`pkg.Class.attribute`, or a module that is not there."""
        found = self.lookup(module, rest[0])
        dotted = ":" not in text
        if found is Unfound.UNKNOWN and dotted and nearest(rest[0], child_modules(module.folders)):
            found = Unfound.MISSING
        if found is Unfound.MISSING:
            return Target(text, found, module, rest[0], rest if dotted else ())
        return Target(text, Unfound.UNKNOWN, module, ".".join(rest))

    def _elsewhere(
        self, module: Module, source: SourceText, name: str, depth: int
    ) -> Symbol | Module | Unfound:
        verdict = Unfound.UNKNOWN if source.dynamic else Unfound.MISSING
        for star in reversed(source.stars):
            other = self._from(module, star)
            if other is None:
                verdict = Unfound.UNKNOWN
                continue
            found = self.lookup(other, name, depth + 1)
            if isinstance(found, Symbol | Module):
                return found
            verdict = found if found is Unfound.UNKNOWN else verdict
        node = source.definition(name)
        if node is not None:
            return Symbol(module, name, node)
        return self._child(module, name) or verdict

    def _child(self, module: Module, name: str) -> Module | None:
        full = f"{module.name}.{name}" if module.name else name
        return module_in(full, name, module.folders, module.root)

    def _imported(self, module: Module, line: Import, depth: int) -> Symbol | Module | Unfound:
        other = self._from(module, line.module)
        if other is None:
            return Unfound.UNKNOWN
        if line.name is None:
            return other
        child = self._child(other, line.name)
        found = self.lookup(other, line.name, depth + 1) if other != module else Unfound.MISSING
        if isinstance(found, Symbol | Module):
            return found
        return child or Unfound.UNKNOWN

    def _from(self, module: Module, dotted: str) -> Module | None:
        """The module that an import statement inside `module` means."""
        if not dotted.startswith("."):
            found, rest = self.module(dotted)
            if (found is None or rest) and module.source is not None:
                found, rest = find_module(dotted, (module.source.parent,))
            return None if rest else found
        if module.source is None:
            return None
        words = dotted.lstrip(".")
        level = len(dotted) - len(words)
        folder = module.source.parent
        package = module.name if module.folders else module.name.rpartition(".")[0]
        for _ in range(level - 1):
            folder, package = folder.parent, package.rpartition(".")[0]
        here = Module(package, _init(folder), (folder,))
        for word in words.split(".") if words else ():
            child = self._child(here, word)
            if child is None:
                return None
            here = child
        return here

    def _alias(self, module: Module, text: str, depth: int) -> Symbol | Module | Unfound:
        match = _ALIAS.match(text)
        if match is None or depth > _DEPTH:
            return Unfound.UNKNOWN
        found = self.resolve(module, match[1], depth + 1)
        return found if isinstance(found, Symbol | Module) else Unfound.UNKNOWN


def _init(folder: Path) -> Path | None:
    path = folder / "__init__.py"
    return path if path.is_file() else None
