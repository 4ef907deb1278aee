"""One process's view of a folder of packed shards: find, read, keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cvtrainer.data.cache.records import Record, RecordLog
from cvtrainer.data.cache.shards import Entry, Shards, checksum
from cvtrainer.data.cache.writing import ENTRIES, NAMES, Writer
from cvtrainer.data.opening import Picture

_ENTRY_WORDS, _NAME_WORDS = 4, 3


class PackStore:
    """Pictures by key, and names that lead to keys."""

    def __init__(self, folder: Path, *, max_bytes: int | None, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.entries = RecordLog(folder, ENTRIES, _ENTRY_WORDS)
        self.names = RecordLog(folder, NAMES, _NAME_WORDS)
        self._damaged: set[int] = set()
        self.writer = Writer(
            folder,
            self.entries,
            self.names,
            damaged=self._damaged,
            max_bytes=max_bytes,
            say=say,
        )
        self._shards = Shards(folder)
        self._say = say
        self._sound = bytearray()
        self._told: set[str] = set()
        self.refresh()

    def refresh(self) -> bool:
        """Learn what others have added; whether there was anything."""
        with_entries = self.entries.refresh()
        return self.names.refresh() or with_entries

    def key_of(self, place: bytes) -> bytes | None:
        """The key that this name leads to."""
        found = self.names.find(place)
        return None if not found else name_key(found[0])

    def read(self, key: bytes, name: str) -> Picture | None:
        """The picture under that key; None where there is no sound one."""
        for record in self.entries.find(key):
            if record.number in self._damaged:
                continue
            found = self._read(record, name)
            if found is not None:
                return found
        return None

    def faulty(self) -> tuple[int, int]:
        """How many entries there are, and how many of them cannot be read; reads everything."""
        found = self.entries.all()
        for key, record in found:
            self._read(record, f"entry {key.hex()}")
        return len(found), len(self._damaged)

    def is_damaged(self, record: Record) -> bool:
        """Whether that entry was found damaged."""
        return record.number in self._damaged

    def _read(self, record: Record, name: str) -> Picture | None:
        entry = Entry.of(record.words)
        pixels = self._shards.pixels(record.writer, entry)
        if pixels is None:
            self._damage(record, record.writer, "is missing or too short")
            return None
        if not self._is_sound(record.number):
            if checksum(pixels) != entry.checksum:
                self._damage(record, name, f"is damaged for {name}")
                return None
            self._sound[record.number] = 1
        return Picture(pixels, entry.full_height, entry.full_width)

    def _is_sound(self, number: int) -> bool:
        if number >= len(self._sound):
            self._sound.extend(bytes(max(number + 1 - len(self._sound), 4096)))
        return bool(self._sound[number])

    def _damage(self, record: Record, once: str, what: str) -> None:
        self._damaged.add(record.number)
        if once not in self._told:
            self._told.add(once)
            self._say(f"cache: shard {self.folder}/{record.writer} {what}; decoding it again")


def name_key(record: Record) -> bytes:
    """The key in a record of a name."""
    first, second, _ = record.words
    return first.to_bytes(8, "little") + second.to_bytes(8, "little")
