"""A file of JSON lines that several processes read and extend at the same time.

Whoever adds holds a lock on the file, has read what the others wrote, and writes whole lines at
once. A line that was cut off by a kill stays behind as a line that nobody can read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder, write_error

Row = dict[str, Any]


class SharedLines:
    """The rows of such a file; each is read once."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._read_to = 0

    def read(self) -> list[Row]:
        """The rows that came since the last time; none where there is no file yet."""
        try:
            with open(self.path, "rb") as file:
                return self._new_rows(file)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise UserError("cannot be read", where=str(self.path)) from error

    @contextmanager
    def adding(self) -> Iterator[Adding]:
        """Hold the file alone, for reading what is new and adding to it."""
        make_folder(self.path.parent)
        try:
            with open(self.path, "a+b", buffering=0) as file:
                _lock(file)
                yield Adding(self._new_rows(file), file)
                self._read_to = file.seek(0, os.SEEK_END)
        except OSError as error:
            raise write_error(self.path, error) from error

    def _new_rows(self, file: BinaryIO | Any) -> list[Row]:
        if file.seek(0, os.SEEK_END) < self._read_to:
            self._read_to = 0
        file.seek(self._read_to)
        whole, newline, _ = file.read().rpartition(b"\n")
        self._read_to += len(whole) + len(newline)
        return [row for line in whole.split(b"\n") if (row := _row(line)) is not None]


class Adding:
    """A file that is held: the rows that were new, and a way to add."""

    def __init__(self, rows: list[Row], file: Any) -> None:
        self.rows = rows
        self._file = file

    def append(self, rows: Iterable[Row]) -> None:
        """Add these rows, to stay even if the machine stops."""
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode(
            errors="surrogateescape"
        )
        if not lines:
            return
        end = self._file.seek(0, os.SEEK_END)
        if end:
            self._file.seek(end - 1)
            if self._file.read(1) != b"\n":
                lines = b"\n" + lines
        while lines:
            lines = lines[self._file.write(lines) :]
        with suppress(OSError):
            os.fsync(self._file.fileno())


def _row(line: bytes) -> Row | None:
    try:
        found = json.loads(line.decode(errors="surrogateescape"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _lock(file: Any) -> None:
    """Wait until nobody else holds the file; the lock ends when it is closed."""
    try:
        import fcntl
    except ImportError:  # a system without file locks: its processes must take turns by luck
        return
    with suppress(OSError):  # a file system without locks
        fcntl.flock(file, fcntl.LOCK_EX)
