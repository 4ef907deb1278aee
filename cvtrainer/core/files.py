"""Files are whole or absent: write beside, fsync, rename.

Whoever reads sees the old file or the new one, never a part; a full disk, an exception or a kill
leaves the old one as it was. What goes into a file is left to the callers.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import BinaryIO

from cvtrainer.core.errors import RunFailed, UserError

_STALE_SECONDS = 3600
_FULL = {errno.ENOSPC, errno.EDQUOT}
_CLOSED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EFBIG,
    errno.EIO,
}


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Yield a binary file that becomes `path` at the end, or vanishes if anything goes wrong."""
    target = Path(path)
    make_folder(target.parent)
    _drop_stale_parts(target)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with open(beside, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, target)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in _FULL | _CLOSED:
            raise write_error(target, error) from error
        raise
    sync_folder(target.parent)


def write_whole(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file at once; text is UTF-8."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Create a folder and its parents; a place that cannot be written is the user's to change."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(Path(path), error) from error
    return Path(path)


def write_error(path: Path, error: OSError) -> UserError:
    """The one line about a place that cannot be written."""
    if error.errno in _FULL:
        return RunFailed(
            "the disk is full; what was there before is intact",
            where=str(path),
            todo="Free some space and start again; a training goes on with --resume auto.",
        )
    reason = (error.strerror or str(error)).lower()
    return UserError(
        f"cannot write here ({reason})", where=str(path), todo="Choose a folder you may write to."
    )


def _drop_stale_parts(target: Path) -> None:
    """Remove what a process that was killed while writing this file has left behind."""
    for part in target.parent.glob(f".{escape(target.name)}.*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                part.unlink()


def sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the system lets a folder be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
