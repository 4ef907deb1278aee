"""Indexes kept between starts, so that a large set is walked or parsed once and not at each start.

What was read is written down beside the index: every folder or file with its times and its inode.
An index is used only while all of them are as they were; anything else means reading again. Change
times cannot be set back by copying programs, so a kept index is never stale.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from cvtrainer.core.errors import UserError
from cvtrainer.data.index import Index

KEEP_FROM = 200_000
"""Rows from which an index is kept; fewer are read sooner than a file is opened."""

_VERSION = 2
_NOTE = b"cvtrainer"
_MOST_SOURCES = 1_000_000
_YOUNG_NS = 3_000_000_000
_FORGET_AFTER_SECONDS = 7 * 24 * 3600


class SourceStamp(NamedTuple):
    """The state of a folder or file when it was read."""

    path: str
    mtime_ns: int
    ctime_ns: int
    inode: int


def stamp_of(path: str) -> SourceStamp:
    """The state of that folder or file now."""
    found = os.stat(path)
    return SourceStamp(path, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


@dataclass(frozen=True)
class Kept:
    """An index and what else was learned while it was made."""

    index: Index
    learned: dict[str, Any]


class IndexStore:
    """The folder of kept indexes, for one source and the arguments it is read with.

    `folder` is the cache folder of the user where none is given. Texts in `sources` are absolute.
    """

    def __init__(
        self, folder: str | Path | None, source: str | Path, arguments: Mapping[str, Any]
    ) -> None:
        self.folder = Path(folder) if folder is not None else default_folder()
        said = json.dumps(
            [_VERSION, os.path.realpath(source), dict(arguments)], sort_keys=True, default=str
        )
        self._key = hashlib.sha256(os.fsencode(said)).hexdigest()[:24]

    def find(self) -> Kept | None:
        """The kept index, where its sources are unchanged."""
        with suppress(OSError):
            for path in sorted(self.folder.glob(f"{self._key}-*.arrow")):
                kept = _unchanged(path)
                if kept is not None:
                    return kept
        return None

    def keep(self, index: Index, stamps: Iterable[SourceStamp], learned: Mapping[str, Any]) -> Kept:
        """The index as mapped from the file it was written to, or as it is where that cannot be.

        A source that changed within the last seconds may change again without a new time, so an
        index over it is not kept.
        """
        sources = list(stamps)
        plain = Kept(index, dict(learned))
        latest = max((max(s.mtime_ns, s.ctime_ns) for s in sources), default=0)
        if len(index) < KEEP_FROM or len(sources) > _MOST_SOURCES:
            return plain
        if latest > time.time_ns() - _YOUNG_NS:
            return plain
        note = json.dumps({"sources": sources, "learned": dict(learned)}).encode()
        digest = hashlib.sha256(note).hexdigest()[:16]
        try:
            written = index.noted(_NOTE, note).write(self.folder / f"{self._key}-{digest}.arrow")
        except (OSError, UserError, pa.ArrowException):
            return plain
        self._forget(written.path)
        return Kept(written, dict(learned))

    def _forget(self, newest: Path | None) -> None:
        """Remove old indexes of this source; workers of a running training may map a recent one."""
        for path in self.folder.glob(f"{self._key}-*.arrow"):
            with suppress(OSError):
                old = time.time() - path.stat().st_mtime > _FORGET_AFTER_SECONDS
                if old and path != newest:
                    path.unlink()


def default_folder() -> Path:
    """Where indexes are kept unless a data set is told another place."""
    return Path("~/.cache/cvtrainer/index").expanduser()


def _unchanged(path: Path) -> Kept | None:
    try:
        index = Index.open(path)
        note = json.loads(index.note(_NOTE) or b"")
        for source in note["sources"]:
            if list(stamp_of(source[0])) != source:
                return None
    except (OSError, UserError, ValueError, KeyError, pa.ArrowException):
        return None
    return Kept(index, note["learned"])
