"""Fixed-size records under 16-byte keys, in files that several processes may write.

Every writer appends to files of its own, and every reader knows what it has read of each, so that
nobody needs a lock. A record that was torn or damaged does not pass its check and is not there.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]

_SALT = np.uint64(0x9E3779B97F4A7C15)
_MERGE_AT = 1 << 16
"""So many records are looked up in a dict before they join the sorted table."""


class Record(NamedTuple):
    """The words of a record behind its key, and who wrote it."""

    words: tuple[int, ...]
    writer: str
    number: int


class RecordLog:
    """All records of one kind in a folder, that is in its files `<writer><suffix>`.

    `number` of a record counts those that this object has read, so that notes on records can be
    kept in an array.
    """

    def __init__(self, folder: Path, suffix: str, words: int) -> None:
        self._folder = folder
        self._suffix = suffix
        self._words = words
        self._lock = threading.Lock()
        self._read: dict[str, int] = {}
        self._writers: list[str] = []
        self._table = _Table(np.zeros(0, np.uint64), np.zeros((0, words + 4), np.uint64))
        self._recent: dict[bytes, list[Record]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def find(self, key: bytes) -> list[Record]:
        """The records under that key, the newest known one first."""
        recent = self._recent.get(key)
        table = self._table
        if not len(table.firsts):
            return [] if recent is None else recent
        first, second = np.frombuffer(key, np.uint64)
        at = int(np.searchsorted(table.firsts, first))
        found = list(recent or ())
        while at < len(table.firsts) and table.firsts[at] == first:
            row = table.rows[at]
            if row[1] == second:
                found.append(self._record(row))
            at += 1
        return found

    def refresh(self) -> bool:
        """Read what others have written since; whether there was anything."""
        with self._lock:
            before = self._count
            for name in self._files():
                with suppress(FileNotFoundError):
                    self._read_on(name, os.stat(self._folder / name).st_size)
            if len(self._recent) > _MERGE_AT:
                self._merge()
            return self._count > before

    def all(self) -> list[tuple[bytes, Record]]:
        """Every record with its key."""
        with self._lock:
            self._merge()
            return [(row[:2].tobytes(), self._record(row)) for row in self._table.rows]

    def added(self, key: bytes, words: tuple[int, ...], writer: str) -> bytes:
        """Know a record that this process writes itself; the bytes to append to its file."""
        row = np.zeros(self._words + 3, np.uint64)
        row[:2] = np.frombuffer(key, np.uint64)
        row[2:-1] = words
        row[-1] = _checks(row[None, :-1])[0]
        with self._lock:
            name = writer + self._suffix
            self._read[name] = self._read.get(name, 0) + 1
            self._know(key, words, writer)
        return row.tobytes()

    def _files(self) -> list[str]:
        try:
            return [name for name in os.listdir(self._folder) if name.endswith(self._suffix)]
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _read_on(self, name: str, size: int) -> None:
        length = (self._words + 3) * 8
        done = self._read.get(name, 0)
        if size // length <= done:
            return
        with open(self._folder / name, "rb", buffering=0) as file:
            file.seek(done * length)
            data = file.read((size // length - done) * length)
        rows = np.frombuffer(data[: len(data) // length * length], np.uint64)
        rows = rows.reshape(-1, self._words + 3)
        self._read[name] = done + len(rows)
        rows = rows[_checks(rows[:, :-1]) == rows[:, -1]]
        writer = name.removesuffix(self._suffix)
        if len(rows) > _MERGE_AT:
            self._join_table(rows, self._writer_number(writer))
            return
        for row in rows:
            self._know(row[:2].tobytes(), tuple(row[2:-1].tolist()), writer)

    def _know(self, key: bytes, words: tuple[int, ...], writer: str) -> None:
        self._writer_number(writer)
        record = Record(words, writer, self._count)
        self._recent[key] = [record, *self._recent.get(key, ())]
        self._count += 1

    def _record(self, row: Words) -> Record:
        values = row.tolist()
        return Record(tuple(values[2:-2]), self._writers[values[-2]], values[-1])

    def _writer_number(self, writer: str) -> int:
        if writer not in self._writers:
            self._writers.append(writer)
        return self._writers.index(writer)

    def _merge(self) -> None:
        """Move what is in the dict into the sorted table."""
        rows = np.zeros((sum(map(len, self._recent.values())), self._words + 4), np.uint64)
        at = 0
        for key, records in self._recent.items():
            for record in records:
                rows[at, :2] = np.frombuffer(key, np.uint64)
                rows[at, 2:-2] = record.words
                rows[at, -2:] = self._writers.index(record.writer), record.number
                at += 1
        self._sort_in(rows)
        self._recent = {}

    def _join_table(self, read: Words, writer: int) -> None:
        rows = np.zeros((len(read), self._words + 4), np.uint64)
        rows[:, :-2] = read[:, :-1]
        rows[:, -2] = writer
        rows[:, -1] = np.arange(self._count, self._count + len(rows))
        self._count += len(rows)
        self._sort_in(rows)

    def _sort_in(self, rows: Words) -> None:
        joined = np.concatenate([rows, self._table.rows])
        joined = joined[np.argsort(joined[:, 0], kind="stable")]
        self._table = _Table(np.ascontiguousarray(joined[:, 0]), joined)


class _Table(NamedTuple):
    firsts: Words
    rows: Words


def _checks(rows: Words) -> Words:
    """A check word for each row."""
    odd = np.arange(1, 2 * rows.shape[1], 2, dtype=np.uint64) * _SALT
    found: Words = (rows * odd).sum(axis=1, dtype=np.uint64) ^ _SALT
    return found ^ (found >> np.uint64(29))
