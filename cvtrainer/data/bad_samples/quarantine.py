"""Files that were bad in an earlier run: not read again until they change.

One line of JSON each, keyed by file, stamp (size and times) and the rules of decoding. Only what
follows from the file alone is kept: a wrong label may be put right without touching the picture.
Several processes may add at once; a line that was cut off by a kill is passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from cvtrainer.data.bad_samples.lines import SharedLines
from cvtrainer.data.bad_samples.record import BadRecord

_OF_THE_FILE = frozenset(("unreadable", "truncated", "bomb", "empty", "sound"))

Stamp = tuple[int, ...]


class _Entry(NamedTuple):
    stamp: Stamp
    rules: str
    kind: str
    reason: str


class Quarantine:
    """What is known to be bad; small, and carried to worker processes as it is."""

    def __init__(self, path: str | Path, *, rules: str = "") -> None:
        self.path = Path(path)
        self.rules = rules
        self._lines = SharedLines(path)
        self._entries: dict[str, _Entry] = {}
        self.refresh()

    def __len__(self) -> int:
        return len(self._entries)

    def __call__(self, file: str) -> bool:
        """Whether that file is known to be bad, as it lies there now."""
        return file in self._entries and self.known(file, stamp_of(file))

    def known(self, file: str, stamp: Iterable[int] | None) -> bool:
        """Whether that file was bad when it had this stamp, under the same rules."""
        entry = self._entries.get(file)
        if entry is None or stamp is None:
            return False
        return entry.rules == self.rules and entry.stamp == tuple(stamp)

    def reason(self, file: str) -> tuple[str, str] | None:
        """Kind and reason of an earlier verdict."""
        entry = self._entries.get(file)
        return None if entry is None else (entry.kind, entry.reason)

    def add(self, records: Iterable[BadRecord]) -> None:
        """Keep these, as far as they are faults of a file that is there."""
        found = {
            record.file: _Entry(stamp, self.rules, record.kind, record.reason)
            for record in records
            if record.kind in _OF_THE_FILE and (stamp := stamp_of(record.file)) is not None
        }
        if all(self._entries.get(file) == entry for file, entry in found.items()):
            return
        with self._lines.adding() as shared:
            self._take(shared.rows)
            new = {file: entry for file, entry in found.items() if self._entries.get(file) != entry}
            shared.append({"file": file, **entry._asdict()} for file, entry in new.items())
        self._entries.update(new)

    def refresh(self) -> None:
        """Read what the file says now; the last line about a file counts."""
        self._take(self._lines.read())

    def _take(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            try:
                entry = _Entry(tuple(row["stamp"]), row["rules"], row["kind"], row["reason"])
                self._entries[row["file"]] = entry
            except (KeyError, TypeError):
                continue


def stamp_of(file: str) -> Stamp | None:
    """Size, times and number of that file, or of the archive before `!`; None where none is."""
    for path in (file, file.rpartition("!")[0]):
        try:
            found = os.stat(path)
        except (OSError, ValueError):
            continue
        return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino
    return None
