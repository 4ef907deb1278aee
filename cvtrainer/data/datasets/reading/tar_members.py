"""Tar archives of samples: members whose names are equal up to the first dot are one sample.

`0001.jpg`, `0001.cls` and `0001.seg.png` are the fields `jpg`, `cls` and `seg.png` of sample 0001.
An archive that is cut off gives the samples before the cut.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from cvtrainer.core.errors import UserError

_RANGE = re.compile(r"^(\d+)\.\.(\d+)$")
_BRACES = re.compile(r"\{([^{}]*)\}")
TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class Part(NamedTuple):
    """A member: where it begins in its archive and how long it is."""

    name: str
    key: str
    field: str
    offset: int
    length: int


def expand(pattern: str) -> list[str]:
    """All names of a pattern: `{000..004}` counts with leading zeros, `{a,b}` takes each."""
    found = _BRACES.search(pattern)
    if found is None:
        return [pattern]
    counted = _RANGE.match(found[1])
    if counted:
        first, last = int(counted[1]), int(counted[2])
        width = len(counted[1])
        words = [f"{number:0{width}d}" for number in range(first, last + 1)]
    else:
        words = found[1].split(",")
    before, after = pattern[: found.start()], pattern[found.end() :]
    return [name for word in words for name in expand(f"{before}{word}{after}")]


def shard_files(data_path: str | Path, split: str | None = None) -> list[Path]:
    """The archives that a file, folder or pattern names; those of a split begin with its name."""
    path = Path(data_path)
    if path.is_dir():
        below = path / split if split is not None and (path / split).is_dir() else path
        files = sorted(p for p in below.iterdir() if p.name.endswith(TAR_ENDINGS))
        if split is not None and below == path:
            files = [p for p in files if re.match(rf"{re.escape(split)}([^a-zA-Z]|$)", p.name)]
    else:
        files = [Path(name) for name in expand(str(path))]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UserError("no such tar archive", where=str(missing[0]))
    if not files:
        of_split = f" for split {split!r}" if split is not None else ""
        raise UserError(f"no tar archive{of_split}", where=str(data_path))
    return files


def part_of(member: tarfile.TarInfo) -> Part | None:
    """What a member is; None for folders, links and hidden files."""
    folder, slash, last = member.name.rpartition("/")
    stem, dot, field = last.partition(".")
    if not member.isreg() or member.issparse() or not stem or not dot:
        return None
    return Part(
        member.name, f"{folder}{slash}{stem}", field.lower(), member.offset_data, member.size
    )


def grouped(parts: Iterator[Part]) -> Iterator[dict[str, Part]]:
    """The samples: neighbours with the same key."""
    for _, members in groupby(parts, key=lambda part: part.key):
        yield {part.field: part for part in members}


class Archive:
    """One pass over the members of an archive that is not packed; `cut` says that it ends early."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cut = False

    def samples(self) -> Iterator[dict[str, Part]]:
        """The samples in order, from the headers alone."""
        return grouped(self._parts())

    def _parts(self) -> Iterator[Part]:
        size = self.path.stat().st_size
        try:
            archive = tarfile.open(self.path, "r:")  # noqa: SIM115 (closed below)
        except tarfile.TarError as error:
            raise UserError(
                f"not a tar archive that can be read at any place ({error})",
                where=str(self.path),
                todo="Unpack it once (gunzip), or read it in order with TarStream.",
            ) from error
        with archive:
            while True:
                try:
                    member = archive.next()
                except tarfile.TarError:
                    self.cut = True
                    return
                if member is None:
                    return
                part = part_of(member)
                if member.offset_data + member.size > size:
                    self.cut = True
                    return
                if part is not None:
                    yield part
