"""Turn "module:Attr", "pkg.mod.Attr" or "path/file.py:Class" into the object.

A wrong path is a one-line error naming the module and the attribute, with a near match. An
exception inside the imported code is not ours: it passes through with its traceback. Only the
composition root and the command line call this; checking a config never does.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from cvtrainer.core.catalog import REGISTRIES
from cvtrainer.core.errors import UserError
from cvtrainer.core.modules import (
    Module,
    child_modules,
    find_file,
    find_module,
    import_roots,
    require_identifier,
    split_target,
)
from cvtrainer.core.suggest import nearest


def import_target(text: str, *, near: Path | None = None) -> Any:
    """The object that a type names; `near` is the config file whose folders count too."""
    for registry in REGISTRIES.values():
        registered = registry.registered_object(text)
        if registered is not None:
            return registered
    require_identifier(text)
    roots = import_roots(near)
    target = split_target(text)
    if target.file is not None:
        return _attribute(_import_file(target.file, roots), target.attributes, text)
    module, rest = find_module(target.module, roots)
    if module is None or (rest and (target.attributes or _is_bare(module))):
        raise missing_module(target.module, module, rest, roots)
    return _attribute(_import_module(module), (*rest, *target.attributes), text)


def missing_module(
    dotted: str, module: Module | None, rest: Sequence[str], roots: Sequence[Path]
) -> UserError:
    """The error for a dotted name of which only a part exists as modules."""
    parent = module.name if module else ""
    folders = module.folders if module else tuple(roots)
    meant = nearest(rest[0], child_modules(folders)) if rest else None
    inside = f" in {parent}" if parent else ""
    what = f"cannot import {dotted!r}: there is no module {rest[0] if rest else dotted!r}{inside}"
    return UserError(
        what, todo=f"Did you mean {f'{parent}.{meant}'.lstrip('.')}?" if meant else None
    )


def _is_bare(module: Module) -> bool:
    return module.source is None and not module.compiled


def _attribute(module: ModuleType, attributes: Sequence[str], text: str) -> Any:
    found: Any = module
    for name in attributes:
        try:
            found = getattr(found, name)
        except AttributeError:
            owner = getattr(found, "__name__", module.__name__)
            meant = nearest(name, [word for word in dir(found) if not word.startswith("_")])
            raise UserError(
                f"cannot import {text!r}: module {owner} has no attribute {name!r}",
                todo=f"Did you mean {meant}?" if meant else None,
            ) from None
    return found


def _import_module(module: Module) -> ModuleType:
    if module.root is not None:
        _put_first(module.root)
        _forget_other_project(module)
    return importlib.import_module(module.name)


def _put_first(root: Path) -> None:
    """Put a project's root where imports look first, as running a script there would."""
    text = str(root)
    if text not in sys.path:
        sys.path.insert(0, text)
        importlib.invalidate_caches()


def _forget_other_project(module: Module) -> None:
    """Drop modules of the same name that an earlier config brought from another folder."""
    loaded = sys.modules.get(module.name)
    file = getattr(loaded, "__file__", None)
    if file is None or module.source is None or Path(file).resolve() == module.source.resolve():
        return
    top = module.name.partition(".")[0]
    for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
        del sys.modules[name]
    root = str(module.root)
    sys.path[:] = [root, *(entry for entry in sys.path if entry != root)]
    importlib.invalidate_caches()


def _import_file(text: str, roots: Sequence[Path]) -> ModuleType:
    path = find_file(text, roots)
    if path is None:
        raise UserError(f"cannot import {text!r}: there is no such file")
    name = f"cvtrainer_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    _put_first(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
