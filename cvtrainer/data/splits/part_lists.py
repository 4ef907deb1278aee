"""Parts of a data set that somebody has decided on: a column of its index, or list files.

A list names files by their path below the root, by their name, or without its ending, as the image
sets of detection challenges do; what stands behind the name in a line is no matter here. Rows of a
table without files are named by their number, from 0.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from cvtrainer.core.errors import UserError
from cvtrainer.data.decode import IMAGE_EXTENSIONS

Numbers = NDArray[np.int64]


def numbers_in_column(dataset: Any, column: str, part: str) -> Numbers:
    """The samples whose cell in that column is the part."""
    cells = dataset.index.column(column)
    found = np.flatnonzero(pc.equal(cells, part).fill_null(False).to_numpy())
    if not len(found):
        parts = sorted(str(v) for v in pc.unique(cells).to_pylist() if v is not None)
        raise UserError(
            f"no sample has {column} {part!r}",
            where=str(dataset.root),
            todo=f"There is {', '.join(parts[:10])}.",
        )
    return found


def numbers_in_list(dataset: Any, given: str, part: str) -> Numbers:
    """The samples that the list file names; `given` is it, or the folder of `<part>.txt`."""
    root = getattr(dataset, "root", None)
    index = getattr(dataset, "index", None)
    column = next((name for name in ("path", "row") if name in (index or ())), None)
    if root is None or index is None or column is None:
        raise UserError("a data set without files has no list of parts", where=given)
    file = _list_file(Path(root), given, part)
    names = _names(file)
    paths = [PurePosixPath(str(name)) for name in index.column(column).to_pylist()]
    ways: tuple[Callable[[PurePosixPath], str], ...] = (
        str,
        lambda path: path.name,
        lambda path: str(path.with_suffix("")),
        lambda path: path.stem,
    )
    chosen: list[tuple[str, int]] = []
    for way in ways:
        chosen = chosen or _matched([way(path) for path in paths], names, str(file))
    missing = names.keys() - {name for name, _ in chosen}
    if missing:
        first = min(missing, key=lambda name: names[name])
        raise UserError(
            f"{len(missing)} of {len(names)} names are not in the data set, e.g. {first}",
            where=str(file),
        )
    return np.sort(np.asarray([number for _, number in chosen], dtype=np.int64))


def _list_file(root: Path, given: str, part: str) -> Path:
    for place in (Path(given), root / given):
        if place.is_file():
            return place
        if place.is_dir():
            file = place / f"{part}.txt"
            if file.is_file():
                return file
            found = sorted(p.stem for p in place.glob("*.txt"))
            raise UserError(
                f"no list {part}.txt",
                where=str(place),
                todo=f"There is {', '.join(found[:10]) or 'no list'}.",
            )
    raise UserError(
        "neither a column of the data set, nor a list file, nor a folder of lists", where=given
    )


def _names(file: Path) -> dict[str, int]:
    """The first words of its lines and where they stand; a mark of -1 behind them says no."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError("the list is not UTF-8", where=str(file)) from error
    names: dict[str, int] = {}
    for number, line in enumerate(lines):
        words = [line.strip()] if line.strip().lower().endswith(IMAGE_EXTENSIONS) else line.split()
        if words and not (len(words) == 2 and words[1] == "-1"):
            names[words[0].removeprefix("./")] = number
    if not names:
        raise UserError("the list is empty", where=str(file))
    return names


def _matched(texts: list[str], names: dict[str, int], where: str) -> list[tuple[str, int]]:
    """The names of the list that are among these texts, with their sample numbers."""
    found = [(text, number) for number, text in enumerate(texts) if text in names]
    seen: set[str] = set()
    for text, _ in found:
        if text in seen:
            raise UserError(
                f"{text} names more than one file of the data set",
                where=where,
                todo="List paths below the root instead of names.",
            )
        seen.add(text)
    return found
