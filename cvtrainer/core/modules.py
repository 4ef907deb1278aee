"""Where a module's source lies, found without importing anything.

`importlib.util.find_spec` imports the parents of a dotted name, and a config check must not import
torch. So only the top-level name is asked for; from there folders are walked. User code is found
from the working folder and from the config's own folders upwards, so that
`apps.my_project.model` means the same from the repository's root, from `apps/` and from inside.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cvtrainer.core.errors import UserError

_LEVELS = 4
_PROJECT_FILES = (".git", "pyproject.toml", "setup.py")


@dataclass(frozen=True)
class Module:
    """A module as files: its source (none for a namespace or compiled one), its folders."""

    name: str
    source: Path | None
    folders: tuple[Path, ...] = ()
    compiled: bool = False
    root: Path | None = None


@dataclass(frozen=True)
class TargetText:
    """The parts of `module:Attr`, `pkg.mod.Attr` or `file.py:Class`."""

    text: str
    file: str | None
    module: str
    attributes: tuple[str, ...]


def split_target(text: str) -> TargetText:
    """Take a target's text apart; a dotted name keeps its attribute among the module's parts."""
    if ":" in text:
        left, _, right = text.rpartition(":")
        attributes = tuple(right.split("."))
        if left.endswith(".py"):
            return TargetText(text, left, Path(left).stem, attributes)
        return TargetText(text, None, left, attributes)
    return TargetText(text, None, text, ())


def is_import_path(text: str) -> bool:
    """Whether a type is written as a path to import rather than as a short name."""
    return ":" in text or "." in text


def import_roots(config: Path | None = None) -> tuple[Path, ...]:
    """Folders from which user code may be imported: working folder, config folder, parents."""
    found: dict[Path, None] = {}
    starts = [Path.cwd()] if config is None else [Path.cwd(), config.resolve().parent]
    found.update(dict.fromkeys(starts))
    for start in reversed(starts):
        found.update(dict.fromkeys(_upwards(start)))
    return tuple(found)


def _upwards(start: Path) -> Iterator[Path]:
    for folder in (start, *start.parents[:_LEVELS]):
        if folder.parent == folder:
            return
        yield folder
        if any((folder / name).exists() for name in _PROJECT_FILES):
            return


def find_file(text: str, roots: Sequence[Path]) -> Path | None:
    """The Python file that `file.py:Class` names, looked up from each root in turn."""
    path = Path(text).expanduser()
    places = [path] if path.is_absolute() else [root / path for root in roots]
    return next((place.resolve() for place in places if place.is_file()), None)


def find_module(dotted: str, roots: Sequence[Path]) -> tuple[Module | None, tuple[str, ...]]:
    """The deepest module that a dotted name reaches, and the parts of the name that are left."""
    parts = tuple(dotted.split("."))
    best: tuple[Module | None, tuple[str, ...]] = (None, parts)
    for top in _tops(parts[0], roots):
        found = _descend(top, parts[1:])
        if best[0] is None or _rank(found) < _rank((best[0], best[1])):
            best = found
        if not best[1] or (best[0] is not None and best[0].source and len(best[1]) == 1):
            break
    return best


def _rank(found: tuple[Module, tuple[str, ...]]) -> tuple[int, bool]:
    """Fewer parts left is better; among equals a real module is better than a bare folder."""
    module, rest = found
    return len(rest), module.source is None and not module.compiled


def child_modules(folders: Sequence[Path]) -> list[str]:
    """Names of the modules that lie in these folders."""
    names: dict[str, None] = {}
    for folder in folders:
        if not folder.is_dir():
            continue
        for entry in sorted(folder.iterdir()):
            name = entry.name.split(".")[0]
            plain = entry.suffix == ".py" or (entry.is_dir() and "." not in entry.name)
            if plain and name.isidentifier() and not name.startswith("__"):
                names[name] = None
    return list(names)


def _tops(name: str, roots: Sequence[Path]) -> Iterator[Module]:
    """Every place where the first part of a dotted name may lie, most binding first."""
    loaded = sys.modules.get(name)
    file = getattr(loaded, "__file__", None)
    if loaded is not None and file and name != "__main__":
        folders = tuple(Path(folder) for folder in getattr(loaded, "__path__", ()))
        yield Module(name, Path(file), folders, compiled=not file.endswith(".py"))
    if name in sys.builtin_module_names:
        yield Module(name, None, compiled=True)
        return
    for root in roots:
        found = module_in(name, name, (root,), root)
        if found is not None:
            yield found
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    folders = tuple(Path(folder) for folder in spec.submodule_search_locations or ())
    source = Path(spec.origin) if spec.origin and spec.has_location else None
    compiled = spec.origin is not None and not spec.origin.endswith(".py")
    yield Module(name, source, folders, compiled=compiled)


def _descend(module: Module, rest: tuple[str, ...]) -> tuple[Module, tuple[str, ...]]:
    while rest and module.folders:
        child = module_in(f"{module.name}.{rest[0]}", rest[0], module.folders, module.root)
        if child is None:
            break
        module, rest = child, rest[1:]
    return module, rest


def module_in(name: str, part: str, folders: Sequence[Path], root: Path | None) -> Module | None:
    """The module `part` that lies directly in one of these folders, called `name`."""
    spaces: list[Path] = []
    for folder in folders:
        package = folder / part
        if (package / "__init__.py").is_file():
            return Module(name, package / "__init__.py", (package,), root=root)
        plain = folder / f"{part}.py"
        if plain.is_file():
            return Module(name, plain, root=root)
        if _compiled(folder, part):
            return Module(name, None, compiled=True, root=root)
        if package.is_dir():
            spaces.append(package)
    return Module(name, None, tuple(spaces), root=root) if spaces else None


def _compiled(folder: Path, part: str) -> bool:
    return any(True for _ in folder.glob(f"{part}.*.so")) or (folder / f"{part}.so").is_file()


def require_identifier(text: str) -> None:
    """Refuse a target whose parts cannot be names at all."""
    target = split_target(text)
    words = target.attributes if target.file else (*target.module.split("."), *target.attributes)
    if not all(word.isidentifier() for word in words):
        raise UserError(
            f"{text!r} is no import path",
            todo="Write pkg.module.Class, pkg.module:Class or path/file.py:Class.",
        )
