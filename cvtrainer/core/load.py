"""From a file to plain data with positions: YAML, JSON, or an ordinary Python module.

The three give the same tree. Only one file is read here: what it includes is for `compose`, what
its words mean is for `check`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cvtrainer.core.errors import ConfigErrors, Problem, UserError
from cvtrainer.core.suggest import nearest
from cvtrainer.core.tree import Mark, Origins, Tree

RUN_CONFIG = "config.yaml"
SUFFIXES = (".yaml", ".yml", ".json", ".py")


def find_config(path: str | Path) -> Path:
    """The config that this path means: as given, then under `apps/`, then up the parents.

    A run folder means the config that it keeps.
    """
    given = Path(path)
    if (given / RUN_CONFIG).is_file():
        return given / RUN_CONFIG
    if given.is_file() or given.is_absolute():
        return _existing(given, [given])
    here = Path.cwd()
    tried = [folder / part / given for folder in (here, *here.parents) for part in ("", "apps")]
    return _existing(given, tried)


def load_file(path: str | Path) -> Tree:
    """A config file as a tree; everything wrong in the file is told at once."""
    data, origins = load_value(path)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        what = f"a config is a mapping of names to values, not {kind_of(data)}"
        raise ConfigErrors([Problem("", what, mark=origins.value())])
    return Tree(data, origins)


def load_value(path: str | Path) -> tuple[Any, Origins]:
    """What a file holds, be it a mapping or not."""
    path = Path(path)
    text = _read(path)
    if path.suffix == ".py":
        from cvtrainer.core.load_python import read_python

        return read_python(text, path, shown(path))
    if path.suffix == ".json":
        from cvtrainer.core.load_json import read_json

        return read_json(text, shown(path))
    from cvtrainer.core.load_yaml import read_yaml

    return read_yaml(text, shown(path))


def shown(path: Path) -> str:
    """A path as messages show it: relative where the file lies below the working directory."""
    try:
        return os.path.normpath(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return os.path.normpath(path)


def kind_of(value: Any) -> str:
    """What a plain value is called in messages."""
    if value is None:
        return "nothing"
    kinds = {dict: "a mapping", list: "a list", str: "a text", bool: "true or false"}
    return kinds.get(type(value), "a number" if isinstance(value, (int, float)) else "an object")


def _existing(given: Path, tried: list[Path]) -> Path:
    for candidate in tried:
        if candidate.is_file():
            return given if candidate == Path.cwd() / given else Path(shown(candidate))
    if given.is_dir():
        raise UserError("is a folder, not a config file", where=str(given), todo=_inside(given))
    raise UserError("no such config file", where=str(given), todo=_neighbours(given))


def _inside(folder: Path) -> str:
    kinds = (".yaml", ".yml", ".json")
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in kinds)
    return f"Give {folder / names[0]}." if names else "Give the config's own file."


def _neighbours(given: Path) -> str | None:
    folders = [given.parent, Path("apps") / given.parent]
    names = [
        str(entry)
        for folder in folders
        if folder.is_dir()
        for entry in sorted(folder.iterdir())
        if entry.suffix in SUFFIXES
    ]
    match = nearest(str(given), names) or nearest(given.name, [Path(name).name for name in names])
    return f"Did you mean {match}?" if match else None


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot be read ({reason})", where=str(path)) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        what = f"byte {raw[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        raise ConfigErrors([Problem("", what, mark=Mark(shown(path), line, column))]) from error
