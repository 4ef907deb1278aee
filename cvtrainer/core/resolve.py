"""What a node's type stands for, always in the same order.

Import path, then registered short name of that kind, then a class found in a scanned folder, then
the torch built-in of that kind; else an error with near matches. Installed plug-ins are asked last:
finding them means reading every installed package. All is found by reading text; the result is
"module:Attr" or "file.py:Class".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cvtrainer.core.catalog import REGISTRIES
from cvtrainer.core.load import shown
from cvtrainer.core.modules import Module, child_modules, is_import_path
from cvtrainer.core.naming import class_name
from cvtrainer.core.source_text import read_source
from cvtrainer.core.suggest import nearest
from cvtrainer.core.symbols import Symbol, Symbols, Target, Unfound

BUILT_IN = {
    "optimizer": "torch.optim",
    "scheduler": "torch.optim.lr_scheduler",
    "loss": "torch.nn",
}
_MODEL_KINDS = ("model", "backbone", "adapter", "head")
_REGISTERED = re.compile(
    r"^@\w+\.register(?:_module)?\(\s*(?:name\s*=\s*)?(?:[\"'](\w+)[\"'])?\s*\)\s*\n"
    r"(?:@.*\n)*(?:class|def)\s+(\w+)",
    re.MULTILINE,
)
_CLASS = re.compile(r"^class\s+(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class Resolved:
    """A type's target, or why it has none and what may have been meant."""

    target: str | None
    what: str = ""
    suggestion: str | None = None


class Resolver:
    """Finds what types stand for, as seen from one config."""

    def __init__(self, symbols: Symbols, scan: Sequence[Path] = ()) -> None:
        self.symbols = symbols
        self._folders = tuple(scan)
        self._scanned: dict[str, list[str]] | None = None
        self._known: dict[tuple[str, str], Resolved] = {}

    def resolve(self, text: str, kind: str) -> Resolved:
        """The target of a type written in a config."""
        if (text, kind) not in self._known:
            self._known[text, kind] = self._resolve(text, kind)
        return self._known[text, kind]

    def _resolve(self, text: str, kind: str) -> Resolved:
        if is_import_path(text):
            return self._import_path(text)
        if not text.isidentifier():
            return Resolved(None, f"{text!r} is neither an import path nor a name")
        found = self._registered(text, kind, plugins=False)
        if found is not None:
            return Resolved(found)
        scanned = self._scan().get(text, [])
        if len(scanned) == 1:
            return Resolved(scanned[0])
        if scanned:
            return Resolved(None, f"{text!r} is found more than once: {', '.join(scanned)}")
        found = self._built_in(text, kind) or self._registered(text, kind, plugins=True)
        if found is not None:
            return Resolved(found)
        what = f"there is no {kind or 'part'} called {text!r}"
        near = nearest(text, self._names(kind))
        if near is None:
            what += "; one of yours is found by its import path, or in a folder of `scan`"
        return Resolved(None, what, near)

    def _import_path(self, text: str) -> Resolved:
        target = self.symbols.target(text)
        if target.found is Unfound.MISSING:
            return self._missing(text, target)
        if isinstance(target.found, Module):
            names = self.symbols.known_names(target.found)
            meant = nearest(class_name(text), names)
            suggestion = f"{text}.{meant}" if meant else None
            return Resolved(None, f"{text!r} is a module, not a class", suggestion)
        assert target.module is not None
        return Resolved(f"{target.module.name}:{target.attribute}")

    def _missing(self, text: str, target: Target) -> Resolved:
        module = target.module
        if module is None or target.missing_module:
            return self._missing_module(text, target)
        meant = nearest(target.attribute, self.symbols.known_names(module))
        what = f"cannot import {text!r}: module {module.name} has no attribute"
        return Resolved(
            None, f"{what} {target.attribute!r}", _corrected(text, target.attribute, meant)
        )

    def _missing_module(self, text: str, target: Target) -> Resolved:
        module, word = target.module, target.attribute
        if word.endswith(".py"):
            return Resolved(None, f"cannot import {text!r}: there is no file {word!r}")
        folders = module.folders if module else self.symbols.roots
        names = child_modules(folders)
        if module is None:
            word = target.text.partition(":")[0].partition(".")[0]
            names = [*names, "cvtrainer", "torch", "torchvision", "timm", "albumentations"]
        inside = f" in {module.name}" if module else ""
        meant = nearest(word, names)
        what = f"cannot import {text!r}: there is no module {word!r}{inside}"
        return Resolved(None, what, _corrected(text, word, meant))

    def _built_in(self, text: str, kind: str) -> str | None:
        target = f"{BUILT_IN[kind]}:{text}" if kind in BUILT_IN else None
        return target if target and isinstance(self.symbols.target(target).found, Symbol) else None

    def _registered(self, text: str, kind: str, *, plugins: bool) -> str | None:
        if kind in REGISTRIES:
            found = REGISTRIES[kind].get(text, plugins=plugins)
            if found is not None or kind not in _MODEL_KINDS:
                return found
        places = {one.get(text, plugins=plugins) for one in REGISTRIES.values()} - {None}
        return places.pop() if len(places) == 1 else None

    def _names(self, kind: str) -> Iterator[str]:
        for registry in [REGISTRIES[kind]] if kind in REGISTRIES else REGISTRIES.values():
            for name, target in registry.items():
                yield name
                yield class_name(target)
        yield from self._scan()
        if kind in BUILT_IN:
            module, _ = self.symbols.module(BUILT_IN[kind])
            if module is not None:
                yield from self.symbols.known_names(module)

    def _scan(self) -> dict[str, list[str]]:
        if self._scanned is None:
            self._scanned = {}
            for folder in self._folders:
                for file in sorted(folder.glob("*.py")):
                    self._scan_file(file)
        return self._scanned

    def _scan_file(self, file: Path) -> None:
        assert self._scanned is not None
        source = read_source(file)
        if source is None:
            return
        module = self._module_of(file)
        names = {match[1]: match[1] for match in _CLASS.finditer(source.text)}
        names.update({m[1]: m[2] for m in _REGISTERED.finditer(source.text) if m[1]})
        for name, attribute in names.items():
            places = self._scanned.setdefault(name, [])
            if f"{module}:{attribute}" not in places:
                places.append(f"{module}:{attribute}")

    def _module_of(self, file: Path) -> str:
        """A dotted name that finds this very file, else its path."""
        file = file.resolve()
        for root in self.symbols.roots:
            if not file.is_relative_to(root):
                continue
            parts = file.relative_to(root).with_suffix("").parts
            if len(parts) > 1 and all(part.isidentifier() for part in parts):
                module, rest = self.symbols.module(".".join(parts))
                if module and not rest and module.source and module.source.resolve() == file:
                    return module.name
        return shown(file)


def _corrected(text: str, wrong: str, meant: str | None) -> str | None:
    """The whole text with the wrong word put right."""
    if meant is None:
        return None
    pattern = rf"(?<![\w]){re.escape(wrong)}(?![\w])"
    return re.sub(pattern, lambda _: meant, text, count=1)
