"""A value of a sample that is still in its file: a picture, a mask or a sound not yet decoded.

Data sets hand these out instead of arrays, so that one place decides how files are read: which
rules of decoding hold, how large a picture is needed, and whether a cache has it already. The
bytes may be a whole file, a range of an archive, or in memory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["image", "mask", "sound"]


class Stamp(NamedTuple):
    """What the file system knows of a file; it changes whenever the content does."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True)
class Encoded:
    """Bytes that stand for a value, and where they are."""

    path: str
    kind: Kind = "image"
    offset: int = 0
    length: int | None = None
    member: str = ""
    data: bytes | None = None

    @property
    def name(self) -> str:
        """How messages call it: the file, and the member inside an archive."""
        return f"{self.path}!{self.member}" if self.member else self.path

    def read(self) -> bytes:
        """The encoded bytes."""
        if self.data is not None:
            return self.data
        with open(self.path, "rb", buffering=0) as file:
            if self.length is None:
                return file.readall()
            return os.pread(file.fileno(), self.length, self.offset)

    def stamp(self) -> Stamp | None:
        """The state of its file; None where the bytes lie in memory."""
        if self.data is not None:
            return None
        found = os.stat(self.path)
        return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
