"""A file that grows by whole pieces and belongs to one run.

Each piece (a line, an event) reaches the system at once; one that does not fit (disk full) is
taken back, so that the file is whole whatever happens. A folder that the config names may hold
another run's file of the same name: that one is moved aside (`train.1.log`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder, write_error

_FIRST_LINE_CHARS = 100_000


class GrowingFile:
    """Appends to a file, which is made if it is not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (open while the run lives)
        except OSError as error:
            raise write_error(path, error) from error

    def write(self, content: bytes) -> None:
        """Add a piece, wholly or not at all."""
        before = os.fstat(self._file.fileno()).st_size
        try:
            written = self._file.write(content)
            while written < len(content):
                written += self._file.write(content[written:])
        except OSError:
            with suppress(OSError):
                self._file.truncate(before)
            raise

    def write_line(self, line: str) -> None:
        self.write(line.encode() + b"\n")

    def close(self) -> None:
        self._file.close()


def folder_of(log_dir: str | None, run_path: Path) -> Path:
    """The folder as the config wrote it, else the run's own."""
    return run_path if log_dir is None else make_folder(log_dir)


def plain_filename(filename: str, where: str) -> str:
    """A name that stays in its folder."""
    if not filename or Path(filename).name != filename:
        raise UserError(
            f"filename is {filename!r}, not a plain name",
            where=where,
            todo="Name the folder with log_dir.",
        )
    return filename


def unused(name: Callable[[int], Path]) -> Path:
    """The first of numbered paths that nobody has."""
    return next(path for number in count(1) if not (path := name(number)).exists())


def move_aside(path: Path, is_ours: Callable[[str], bool]) -> list[str]:
    """Make room where another run's file lies; returns what to tell about it.

    `is_ours` judges by the first line; an empty file belongs to whoever comes.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            first = file.readline(_FIRST_LINE_CHARS)
        if not first or is_ours(first):
            return []
        aside = unused(lambda number: path.with_name(f"{path.stem}.{number}{path.suffix}"))
        os.replace(path, aside)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise write_error(path, error) from error
    return [f"{path}: it was another run's and is now {aside.name}"]
