"""Files whose class stands in their folder or in their name, for sounds and texts.

A pattern such as `{label}_{speaker}_{take}.wav` says where in the path the class is and who
belongs together; a regular expression with named groups does too. Order and numbering follow
from the names alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cvtrainer.core.errors import UserError

GROUP_WORDS = ("group", "speaker")
"""The parts of a pattern that say what belongs together, the first one found."""

NO_CLASSES = ("_background_noise_", "unsup")
"""Folders of well-known sets that hold files without a class: noise to mix in, unlabelled texts."""

_LEFT_BEHIND = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")


def is_hidden(name: str) -> bool:
    """Whether a file or folder of that name is none of the user's: what systems leave behind."""
    return name.startswith(".") or name in _LEFT_BEHIND


class LabelledFile(NamedTuple):
    """A file relative to the root, its class, and what it belongs to (a speaker, a patient)."""

    path: str
    label: str
    group: str | None = None


def files_by_folder(root: Path, extensions: Sequence[str]) -> list[LabelledFile]:
    """The files of each class folder below `root`, sorted; a folder without any is an error.

    Those in `NO_CLASSES` are left out.
    """
    names = sorted(
        e.name for e in os.scandir(_folder(root)) if e.is_dir() and not is_hidden(e.name)
    )
    names = [name for name in names if name not in NO_CLASSES]
    if not names:
        raise UserError(
            "the data folder holds no class folders",
            where=str(root),
            todo="Put the files of each class into a folder named after it, or give `pattern`.",
        )
    found: list[LabelledFile] = []
    for name in names:
        inside = [
            LabelledFile(f"{name}/{path}", name) for path in files_below(root / name, extensions)
        ]
        if not inside:
            raise UserError(
                f"class folder {name} holds no file ending in {' '.join(extensions)}",
                where=str(root),
                todo="Add files or remove the folder.",
            )
        found += inside
    return found


def files_by_name(root: Path, extensions: Sequence[str] | None, pattern: str) -> list[LabelledFile]:
    """The files below `root` whose path tells their class.

    With `extensions` each such file must fit the pattern; without, those that fit are taken.
    """
    expression = path_expression(pattern, str(root))
    group = next((word for word in GROUP_WORDS if word in expression.groupindex), None)
    found: list[LabelledFile] = []
    for path in files_below(_folder(root), extensions):
        fits = expression.fullmatch(path)
        if fits is None and extensions is not None:
            raise UserError(
                f"the path does not fit the pattern {pattern}",
                where=str(root / path),
                todo="Rename or remove the file, or correct the pattern.",
            )
        if fits is not None:
            found.append(LabelledFile(path, fits["label"], fits[group] if group else None))
    if not found:
        raise UserError(f"no file fits the pattern {pattern}", where=str(root))
    return found


def path_expression(pattern: str, where: str) -> re.Pattern[str]:
    """The regular expression of a pattern: `{word}` is a part of a name, the rest is literal."""
    text = pattern
    if "(?P<" not in pattern:
        parts = re.split(r"\{(\w+)\}", pattern)
        text = "".join(
            f"(?P<{part}>[^/]+?)" if place % 2 else re.escape(part)
            for place, part in enumerate(parts)
        )
    try:
        expression = re.compile(text)
    except re.error as error:
        raise UserError(f"the pattern {pattern} cannot be read: {error}", where=where) from error
    if "label" not in expression.groupindex:
        raise UserError(
            f"the pattern {pattern} does not say where the class is",
            where=where,
            todo="Use e.g. {label}_{speaker}_{take}.wav, or (?P<label>…) in an expression.",
        )
    return expression


def class_order(
    labels: Sequence[str], classes: Sequence[str] | None, where: str
) -> tuple[str, ...]:
    """The classes in the order of their numbers: as given, or the names sorted."""
    found = sorted(set(labels))
    if classes is None:
        if len(found) == 1:
            raise UserError(
                f"only one class ({found[0]}), so there is nothing to tell apart",
                where=where,
                todo="Add files of a further class.",
            )
        return tuple(found)
    names = tuple(str(name) for name in classes)
    if len(set(names)) != len(names):
        raise UserError("`classes` names a class twice", where=where)
    strangers = [name for name in found if name not in names]
    if strangers:
        raise UserError(
            f"class {strangers[0]} is not among the {len(names)} known classes",
            where=where,
            todo="Correct its name or remove it, or train with this class.",
        )
    return names


def files_below(folder: Path, extensions: Sequence[str] | None) -> Iterator[str]:
    """Files below that folder in sorted order, relative to it; hidden ones are left out."""
    endings = None if extensions is None else tuple(e.lower() for e in extensions)
    for here, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        inner = os.path.relpath(here, folder)
        for name in sorted(files):
            if is_hidden(name) or (endings and not name.lower().endswith(endings)):
                continue
            yield name if inner == "." else f"{Path(inner).as_posix()}/{name}"


def _folder(root: Path) -> Path:
    if not root.is_dir():
        raise UserError(
            "not a folder" if root.exists() else "no such data folder",
            where=str(root),
            todo="Give the folder that holds the files.",
        )
    return root
