"""Files whose disk has little room: what the tests of failing writes share."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from cvtrainer.core import files


class SmallDisk:
    """A file on a disk that has room for some bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file = file
        self.room = room

    def write(self, content: Any) -> int:
        self.room -= len(bytes(content))
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self.file.write(content))

    def __enter__(self) -> SmallDisk:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def disk_with_room(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Every whole file from now on gets so many bytes and no more."""

    def on_small_disk(*words: Any, **more: Any) -> SmallDisk:
        return SmallDisk(open(*words, **more), room)

    monkeypatch.setattr(files, "open", on_small_disk, raising=False)
