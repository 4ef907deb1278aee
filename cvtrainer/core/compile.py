"""A config file, flags and defaults become one resolved tree, or one list of everything wrong.

load, compose, override, normalise, resolve the types, check. Nothing here imports torch or user
code. The resolved tree is plain data that reloads to itself; `origins` tells where each of its
values was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from cvtrainer.core.check import Purpose, check_config
from cvtrainer.core.check_data import known_to_backend
from cvtrainer.core.compose import compose
from cvtrainer.core.errors import ConfigErrors, Problem
from cvtrainer.core.load import find_config, load_file
from cvtrainer.core.modules import import_roots
from cvtrainer.core.normalise import Normal, normalise
from cvtrainer.core.resolve import Resolver
from cvtrainer.core.symbols import Symbols
from cvtrainer.core.tree import PYTHON, Mark, Origins, Path, Tree, copy_data, path_text

Source = str | FilePath | Mapping[str, Any]


@dataclass
class CompiledConfig:
    """A config as written and as resolved, and where each resolved value comes from."""

    path: FilePath | None
    raw: Tree
    resolved: dict[str, Any]
    origins: Origins
    notes: list[str] = field(default_factory=list)


def compile_config(
    source: Source,
    overrides: Sequence[str] = (),
    *,
    check: bool = True,
    purpose: Purpose | str = Purpose.AUTO,
) -> CompiledConfig:
    """Read a config; raises `ConfigErrors` with all its problems.

    `purpose` says what must be there: "train" and "eval" insist on what they need, "auto" asks for
    it unless the stage is written for evaluation.
    """
    broken: list[Problem] = []
    path, raw = read_tree(source, overrides, problems=broken)
    normal = normalise(raw, path)
    resolver = make_resolver(normal, path)
    problems = [*broken, *_no_follow_ups(broken, normal.problems)]
    problems += _no_follow_ups(broken, resolve_types(normal, resolver))
    notes: list[str] = []
    if check:
        report = check_config(normal, resolver, Purpose(purpose), problems, broken)
        problems, notes = report.problems, report.notes
    if problems:
        raise ConfigErrors(problems)
    resolved = copy_data(normal.tree.data)
    resolved.pop("scan", None)
    return CompiledConfig(path, raw, resolved, normal.tree.origins, notes)


def read_tree(
    source: Source, overrides: Sequence[str] = (), *, problems: list[Problem] | None = None
) -> tuple[FilePath | None, Tree]:
    """The config as written: composed and overridden, with its file if it has one.

    With a list of `problems`, includes that lead nowhere are added to it instead of raised.
    """
    if isinstance(source, Mapping):
        path, tree = None, Tree(copy_data(dict(source)), Origins(value=Mark(PYTHON)))
    else:
        path = find_config(source)
        tree = load_file(path)
    try:
        return path, compose(tree, path, overrides=overrides, problems=problems)
    except ConfigErrors as error:
        raise ConfigErrors([*(problems or ()), *error.problems]) from error


def _no_follow_ups(broken: Sequence[Problem], later: Sequence[Problem]) -> list[Problem]:
    """Problems that are not just the echo of an include that leads nowhere."""
    lines = {(one.mark.file, one.mark.line) for one in broken if one.mark}
    return [one for one in later if not one.mark or (one.mark.file, one.mark.line) not in lines]


def make_resolver(normal: Normal, path: FilePath | None) -> Resolver:
    """Looks for user code from the config's folders, and for bare names where the run says."""
    scan = normal.tree.data.get("scan") or []
    folders = [FilePath(folder) for folder in scan if isinstance(folder, str)]
    if path is not None:
        folders.append(path.resolve().parent)
    return Resolver(Symbols(import_roots(path)), folders)


def _of_backend(data: Any, path: Path, name: str, resolver: Resolver) -> bool:
    """Whether a transform's bare name belongs to the back end of its list."""
    if "transforms" not in path:
        return True
    for step in path[: path.index("transforms") + 1]:
        data = data[step]
    return known_to_backend(resolver.symbols, data["backend"], name)


def resolve_types(normal: Normal, resolver: Resolver) -> list[Problem]:
    """Write the target of each node in place of its type; what has none is a problem."""
    problems = []
    data, origins = normal.tree.data, normal.tree.origins
    for path, kind in normal.nodes.items():
        node: Any = data
        for step in path:
            node = node[step]
        text = node["type"]
        bare = kind == "transform" and "." not in text and ":" not in text
        if bare and _of_backend(data, path, text, resolver):
            continue
        found = resolver.resolve(text, kind)
        if bare and found.target is None:
            continue  # told by the check, which knows the names of all back ends
        if found.target is not None:
            node["type"] = found.target
            continue
        place = (*path, "type")
        mark = origins.value(place) or origins.nearest(place)
        problems.append(Problem(path_text(place, data), found.what, found.suggestion, mark))
    return problems
