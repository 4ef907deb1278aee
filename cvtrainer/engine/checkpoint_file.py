"""Checkpoint files: whole or absent, checked when read, and never a pickled object.

A file is an ordinary `torch.save` archive of tensors and plain values whose zip comment holds the
SHA-256 of everything before it, so `torch.load(path, weights_only=True)` reads it anywhere, and a
flipped bit or a missing end is noticed here. Which state goes in is the trainer's business.
"""

from __future__ import annotations

import errno
import hashlib
import struct
from pathlib import Path
from typing import IO, cast

import torch

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder, whole_file
from cvtrainer.protocols import State

FORMAT = 1
_MARK = b"cvtrainer-sha256:"
_COMMENT_BYTES = len(_MARK) + 64
_BLOCK = 1 << 20
_END_RECORD = struct.Struct("<4s4H2LH")
_LENGTH = struct.Struct("<H")


class DamagedCheckpointError(UserError):
    """The file is there and is not what was written."""


def write_checkpoint(path: Path, state: State) -> None:
    """Write beside, checksum, flush to disk, rename; on failure an older file stays as it was."""
    make_folder(path.parent)
    with whole_file(path) as file:
        sealed = _Sealed(file)
        try:
            torch.save({"format": FORMAT, **state}, cast(IO[bytes], sealed))
            sealed.end()
        except Exception:
            if sealed.failure is not None:  # torch only complains that its file is too short
                raise sealed.failure from None
            raise


class _Sealed:
    """Passes an archive on to a file, and its checksum behind it.

    The checksum is of what was meant to be written, so a file that did not take all of it is found
    out. The last two bytes of an archive are the length of its comment, here that of the checksum.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.failure: OSError | None = None
        self._file = file
        self._digest = hashlib.sha256()
        self._last = b""

    def write(self, content: bytes | memoryview) -> int:
        view = memoryview(content).cast("B")
        if view.nbytes < _LENGTH.size:
            view = memoryview(self._last + bytes(view))
        else:
            self._pass_on(self._last)
        self._pass_on(view[: -_LENGTH.size])
        self._last = bytes(view[-_LENGTH.size :])
        return len(content)

    def flush(self) -> None:
        """Nothing yet: the file is flushed once it is whole."""

    def end(self) -> None:
        self._pass_on(_LENGTH.pack(_COMMENT_BYTES))
        self._pass_on(_MARK + self._digest.hexdigest().encode("ascii"))

    def _pass_on(self, content: bytes | memoryview) -> None:
        try:
            if self._file.write(content) != len(content):
                raise OSError(errno.EIO, "the disk took only a part of it")
        except OSError as error:
            self.failure = self.failure or error
            raise
        self._digest.update(content)


def _digest(stream: IO[bytes], length: int) -> str:
    found = hashlib.sha256()
    while length > 0 and (block := stream.read(min(_BLOCK, length))):
        found.update(block)
        length -= len(block)
    return found.hexdigest()


def read_file(path: Path) -> State:
    """The state in the file; a missing, damaged or foreign file is a one-line error."""
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; give the path of an existing one")
    has_checksum(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DamagedCheckpointError(
            f"{path}: this is not a readable checkpoint ({_first_line(error)})"
        ) from error
    if not isinstance(state, dict):
        raise UserError(f"{path}: it holds a {type(state).__name__}, not a mapping of states")
    if isinstance(written := state.get("format"), int) and written > FORMAT:
        raise UserError(f"{path}: a newer cvtrainer wrote it (format {written}); update cvtrainer")
    return state


def has_checksum(path: Path) -> bool:
    """Whether there is one, which is then right; files of other programs have none."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        if size < _COMMENT_BYTES or stream.read(4) != b"PK\x03\x04":
            raise DamagedCheckpointError(
                f"{path}: this is not a whole checkpoint file ({size} bytes)"
            )
        comment = _comment(stream, size)
        if comment is None:
            raise DamagedCheckpointError(f"{path}: the file is cut off ({size} bytes)")
        if len(comment) != _COMMENT_BYTES:
            return False
        stream.seek(0)
        digest = _digest(stream, size - _COMMENT_BYTES)
        if comment != _MARK + digest.encode("ascii"):
            raise DamagedCheckpointError(f"{path}: the content does not match its checksum")
        return True


def _comment(stream: IO[bytes], size: int) -> bytes | None:
    """What follows the archive's end record; None where record or comment are not whole."""
    stream.seek(max(0, size - _COMMENT_BYTES - _END_RECORD.size))
    tail = stream.read()
    start = tail.rfind(b"PK\x05\x06")
    if start < 0 or len(tail) < start + _END_RECORD.size:
        return None
    announced = _END_RECORD.unpack_from(tail, start)[-1]
    comment = tail[start + _END_RECORD.size :]
    return comment if len(comment) == announced else None


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:160] if text else type(error).__name__
