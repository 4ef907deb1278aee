"""A bounded look at a file or folder: names and first bytes, never a whole tree or file."""

from __future__ import annotations

import gzip
import os
import re
import zlib
from collections.abc import Collection, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path

from cvtrainer.data.datasets.reading.labelled_files import is_hidden
from cvtrainer.data.decode import IMAGE_EXTENSIONS

_MOST_ENTRIES = 20_000
_MOST_WALKED = 2_000
_HEAD_BYTES = 1 << 16
_PAPERS = re.compile(
    r"^thumbs\.db$|^desktop\.ini$|readme|licen[cs]e|sha256sums|md5sums|changelog|requirements|\.(md|rst|py|py\.txt|ipynb|sh)$",
    re.IGNORECASE,
)


class Look:
    """The entries of a folder or the beginning of a file; each is read once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def _entries(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        folders: list[str] = []
        files: list[str] = []
        if self.path.is_dir():
            with os.scandir(self.path) as found:
                for entry in islice(found, _MOST_ENTRIES):
                    if not is_hidden(entry.name):
                        (folders if entry.is_dir() else files).append(entry.name)
        return tuple(sorted(folders)), tuple(sorted(files))

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders right inside, hidden ones left out."""
        return self._entries[0]

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Files right inside that are not about the data, such as a readme."""
        return tuple(n for n in self._entries[1] if not _PAPERS.search(n))

    def inside(self, name: str) -> Look:
        """A look at a folder or file below."""
        return Look(self.path / name)

    def ending(self, *endings: str) -> tuple[str, ...]:
        """Files right inside with one of these endings."""
        return tuple(name for name in self.files if name.lower().endswith(endings))

    @property
    def pictures(self) -> tuple[str, ...]:
        """Pictures right inside."""
        return self.ending(*IMAGE_EXTENSIONS)

    def below(self) -> Iterator[str]:
        """Files at any depth, upper ones first, until enough has been seen."""
        return islice(self._all_below(), _MOST_WALKED)

    def _all_below(self) -> Iterator[str]:
        waiting = [self]
        while waiting:
            look = waiting.pop(0)
            for name in look.files:
                yield os.path.relpath(look.path / name, self.path)
            waiting += [look.inside(name) for name in look.folders]

    def has_below(self, endings: Collection[str]) -> bool:
        """Whether a file with one of these endings is among those seen below."""
        return any(name.lower().endswith(tuple(endings)) for name in self.below())

    @cached_property
    def head(self) -> bytes:
        """The first bytes of the file, unpacked where it is gzipped; nothing for a folder."""
        try:
            with self.path.open("rb") as file:
                first = file.read(_HEAD_BYTES)
        except OSError:
            return b""
        if first[:2] != b"\x1f\x8b":
            return first
        try:
            with gzip.open(self.path) as unpacked:
                return unpacked.read(_HEAD_BYTES)
        except (OSError, EOFError, zlib.error):
            return b""

    def lines(self) -> list[str]:
        """The first whole lines of the file that are not empty."""
        text = self.head.decode("utf-8", errors="replace")
        found = text.splitlines()
        if len(self.head) == _HEAD_BYTES:
            found = found[:-1]
        return [line for line in found if line.strip()]
