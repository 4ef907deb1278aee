"""A Python config: an ordinary module, executed as it stands, then read as plain data.

The tree is its `cfg` (or `config`), a dict or a function that returns one; without it, the
module-level lower-case names. Imports are not patched: positions come from the source, where a
literal gives its own line and anything computed gives its assignment's.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path as FilePath
from types import FunctionType, ModuleType
from typing import Any

from cvtrainer.core.errors import ConfigErrors, Problem
from cvtrainer.core.python_marks import mark_call, mark_names, mark_variable
from cvtrainer.core.tree import Mark, Origins, Path, path_text

_ROOTS = ("cfg", "config")
_FUNCTIONS = (*_ROOTS, "get_config", "make_config", "build_config")


def read_python(text: str, path: FilePath, file: str) -> tuple[Any, Origins]:
    """Execute the module and take its config; an exception in it keeps its traceback."""
    try:
        source = ast.parse(text, filename=str(path))
    except SyntaxError as error:
        mark = Mark(file, error.lineno or 1, error.offset or 1)
        raise ConfigErrors([Problem("", error.msg, mark=mark)]) from error
    module = _execute(text, path)
    with _importable(path):
        value, origins = _take(vars(module), source, file)
    plain = _Plainer(module.__name__, path, origins)
    data = plain.value(value, ())
    if plain.problems:
        raise ConfigErrors(plain.problems)
    return data, origins


def _execute(text: str, path: FilePath) -> ModuleType:
    module = ModuleType(f"config_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    try:
        with _importable(path):
            exec(compile(text, str(path), "exec", dont_inherit=True), vars(module))
    finally:
        sys.modules.pop(module.__name__, None)
    return module


@contextmanager
def _importable(path: FilePath) -> Iterator[None]:
    """Let the module import its neighbours and what lies in the working directory."""
    folders = [str(FilePath.cwd()), str(path.absolute().parent)]
    added = [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            sys.path.remove(folder)


def _take(names: Mapping[str, Any], source: ast.Module, file: str) -> tuple[Any, Origins]:
    for name in _ROOTS:
        if isinstance(names.get(name), Mapping):
            return names[name], mark_variable(source, file, name, names[name])
    function = _config_function(names)
    if function is not None:
        value = function()
        return value, mark_call(source, file, function.__name__, value)
    public = {name: value for name, value in names.items() if _is_setting(name, value)}
    return public, mark_names(source, file, public)


def _config_function(names: Mapping[str, Any]) -> Callable[[], Any] | None:
    own = [
        value
        for value in names.values()
        if isinstance(value, FunctionType) and value.__module__ == names["__name__"]
    ]
    for function in own:
        if function.__name__ in _FUNCTIONS:
            return function
    settings = any(_is_setting(name, value) for name, value in names.items())
    return own[0] if len(own) == 1 and not settings else None


def _is_setting(name: str, value: Any) -> bool:
    """Whether a module-level name is meant as a key: lower case, public, and plain data."""
    if name == "_base_":
        return True
    if name.startswith("_") or name != name.lower():
        return False
    return not isinstance(value, (ModuleType, type)) and not callable(value)


class _Plainer:
    """Turns what Python gives into plain data; a class or function becomes its import path."""

    def __init__(self, module: str, path: FilePath, origins: Origins) -> None:
        self.module = module
        self.file = path
        self.origins = origins
        self.problems: list[Problem] = []
        self._open: list[Any] = []

    def value(self, value: Any, path: Path) -> Any:
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, FilePath):
            return str(value)
        if isinstance(value, (type, FunctionType)):
            return self._target(value, path)
        if any(value is outer for outer in self._open):
            self._problem(path, "contains itself")
            return None
        self._open.append(value)
        try:
            if isinstance(value, Mapping):
                return {
                    self._key(key, path): self.value(item, (*path, key))
                    for key, item in value.items()
                }
            if isinstance(value, Sequence) and not isinstance(value, bytes):
                return [self.value(item, (*path, index)) for index, item in enumerate(value)]
        finally:
            self._open.pop()
        kind = type(value).__name__
        self._problem(path, f"a {kind} object is no plain data; name it as type + kwargs")
        return None

    def _key(self, key: Any, path: Path) -> Any:
        if isinstance(key, (str, int)) and not isinstance(key, bool):
            return key
        self._problem(path, f"the key {key!r} is neither a word nor a number")
        return str(key)

    def _target(self, value: Any, path: Path) -> str | None:
        name = value.__qualname__
        if "<" in name:
            self._problem(path, f"{name} cannot be imported by its name; move it to a module")
            return None
        owner = str(self.file) if value.__module__ == self.module else value.__module__
        return f"{owner}:{name}"

    def _problem(self, path: Path, what: str) -> None:
        mark = self.origins.nearest(path)
        self.problems.append(Problem(path_text(path), what, mark=mark))
