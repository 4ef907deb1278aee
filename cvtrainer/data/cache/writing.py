"""Writing pixels into shards, in a thread of its own and so that a kill at any time harms nothing.

Pixels are in the file before the record that says so. Each writer has its own files. Where the
disk is slower than decoding, pictures are left out rather than waited for: the next epoch brings
them again.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import weakref
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from cvtrainer.data.cache.records import RecordLog
from cvtrainer.data.cache.shards import PIXELS, Entry, checksum
from cvtrainer.data.opening import Picture

ENTRIES, NAMES = ".entries", ".names"

_SHARD_BYTES = 4 << 30
_ALIGNED = 64
_WAITING_BYTES = 128 << 20
_PATIENCE_S = 30.0

_Job = Callable[[], None]


class Writer:
    """Appends to the shards of one folder; `max_bytes` bounds the pixels of all writers.

    `damaged` are the numbers of entries that are to be written again.
    """

    def __init__(
        self,
        folder: Path,
        entries: RecordLog,
        names: RecordLog,
        *,
        damaged: Container[int],
        max_bytes: int | None,
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._damaged = damaged
        self._entries = entries
        self._names = names
        self._max_bytes = max_bytes
        self._say = say
        self._lock = threading.Lock()
        self._room = threading.Condition()
        self._waiting = 0
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._files: dict[str, int] = {}
        self._stem = ""
        self._full = False
        self.closed = False

    def keep(
        self, key: bytes, picture: Picture, name: tuple[bytes, int] | None, *, wait: bool
    ) -> None:
        """Write the picture, and the name that leads to it, soon; `wait` rather than leave out."""
        size = picture.pixels.nbytes
        with self._room:
            while self._waiting and self._waiting + size > _WAITING_BYTES:
                if not wait:
                    return
                self._room.wait()
            if self.closed or self._full:
                return
            self._waiting += size
        self._soon(lambda: self._write(key, picture, name))

    def note(self, key: bytes, name: tuple[bytes, int]) -> None:
        """Write that this name leads to that key, soon."""
        if not self.closed:
            self._soon(lambda: self._note(key, name))

    def flush(self) -> None:
        """Return when everything so far is in the files."""
        if self._thread is None:
            return
        done = threading.Event()
        self._soon(done.set)
        done.wait()

    def _soon(self, job: _Job) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_work, args=(self._jobs,), name="cache-writer", daemon=True
                )
                self._thread.start()
                weakref.finalize(self, _end, self._jobs, self._thread)
        self._jobs.put(job)

    def _write(self, key: bytes, picture: Picture, name: tuple[bytes, int] | None) -> None:
        try:
            known = [r for r in self._entries.find(key) if r.number not in self._damaged]
            there = bool(known) or self._append(key, picture)
            if there and name is not None:
                self._write_name(key, name)
        except OSError as error:
            self._give_up(error)
        finally:
            with self._room:
                self._waiting -= picture.pixels.nbytes
                self._room.notify_all()

    def _append(self, key: bytes, picture: Picture) -> bool:
        """Whether it is in the shard now."""
        pixels = picture.pixels
        height, width = pixels.shape[:2]
        channels = pixels.shape[2] if pixels.ndim == 3 else 0
        with self._bounded(pixels.nbytes):
            if self.closed or self._full:
                return False
            file = self._file(PIXELS)
            end = os.lseek(file, 0, os.SEEK_END)
            if end and end + pixels.nbytes > _SHARD_BYTES:
                self._next_shard()
                file, end = self._file(PIXELS), 0
            offset = -(-end // _ALIGNED) * _ALIGNED
            _write_all(file, bytes(offset - end))
            _write_all(file, pixels.reshape(-1).data)
            sizes = (height, width, channels, picture.height, picture.width)
            entry = Entry(offset, *sizes, checksum(pixels))
            _write_all(self._file(ENTRIES), self._entries.added(key, entry.words(), self._stem))
            return True

    def _note(self, key: bytes, name: tuple[bytes, int]) -> None:
        try:
            self._write_name(key, name)
        except OSError as error:
            self._give_up(error)

    def _write_name(self, key: bytes, name: tuple[bytes, int]) -> None:
        if self.closed:
            return
        place, path = name
        words = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little"), path
        file = self._file(NAMES)
        _write_all(file, self._names.added(place, words, self._stem))

    def _give_up(self, error: OSError) -> None:
        """A disk that does not take more ends the writing and not the run."""
        if not self.closed:
            self.closed = True
            self._say(f"cache: {self._folder} takes no more ({error.strerror}); going on without")

    @contextmanager
    def _bounded(self, more: int) -> Iterator[None]:
        """Within, nobody else appends; full once there is no room."""
        if self._max_bytes is None:
            yield
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / "lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if pixel_bytes(self._folder) + more > self._max_bytes:
                self._full = True
                self._say(f"cache: {self._folder} is full (max_bytes); the rest is decoded again")
            yield

    def _file(self, suffix: str) -> int:
        found = self._files.get(suffix)
        if found is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._stem = self._stem or f"{os.getpid()}-{secrets.token_hex(6)}"
            flags = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC
            found = self._files[suffix] = os.open(f"{self._folder}/{self._stem}{suffix}", flags)
        return found

    def _next_shard(self) -> None:
        for file in self._files.values():
            os.close(file)
        self._files, self._stem = {}, ""


def pixel_bytes(folder: Path) -> int:
    """Bytes of all shards in that folder."""
    try:
        with os.scandir(folder) as entries:
            return sum(e.stat().st_size for e in entries if e.name.endswith(PIXELS))
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _write_all(file: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        job()
        del job


def _end(jobs: SimpleQueue[_Job | None], thread: threading.Thread) -> None:
    jobs.put(None)
    if thread is not threading.current_thread():
        thread.join(timeout=_PATIENCE_S)
