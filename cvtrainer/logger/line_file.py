"""A text file that grows by whole lines and belongs to one run.

A folder that the config names may hold another run's file of the same name: that one is moved
aside (`train.1.log`). Each line reaches the system at once; one that did not fit (disk full) is
taken back, so that the file ends with a whole line whatever happens.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder, write_error


class LineFile:
    """Appends lines to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115 (open while the run lives)
        except OSError as error:
            raise write_error(path, error) from error

    def append(self, line: str) -> None:
        """Add one line, wholly or not at all."""
        content = line.encode() + b"\n"
        before = os.fstat(self._file.fileno()).st_size
        try:
            written = self._file.write(content)
            while written < len(content):
                written += self._file.write(content[written:])
        except OSError:
            with suppress(OSError):
                self._file.truncate(before)
            raise

    def close(self) -> None:
        self._file.close()


def folder_of(log_dir: str | None, run_path: Path) -> Path:
    """The folder as the config wrote it, else the run's own."""
    return run_path if log_dir is None else make_folder(log_dir)


def plain_filename(filename: str, where: str) -> str:
    """A name that stays in its folder."""
    if Path(filename).name != filename:
        raise UserError(
            f"filename is {filename!r}", where=where, todo="Name the folder with log_dir."
        )
    return filename


def move_aside(path: Path, is_ours: Callable[[str], bool]) -> str | None:
    """Make room where another run's file lies; returns what to tell about it.

    `is_ours` judges by the first line; an empty file belongs to whoever comes.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            first = file.readline()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise write_error(path, error) from error
    if not first or is_ours(first):
        return None
    count = 1
    while (aside := path.with_name(f"{path.stem}.{count}{path.suffix}")).exists():
        count += 1
    os.replace(path, aside)
    return f"{path}: it is another run's and was moved to {aside.name}"
