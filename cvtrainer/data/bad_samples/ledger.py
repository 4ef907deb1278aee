"""Which samples were bad in this run: each file written once, told once, and counted.

The ledger lives where the training process lives; ranks share its file. What an earlier part of a
resumed run, or another rank, has written counts here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from cvtrainer.core.errors import UserError
from cvtrainer.data.bad_samples.lines import Row, SharedLines
from cvtrainer.data.bad_samples.quarantine import Quarantine
from cvtrainer.data.bad_samples.record import BadRecord

_TOLD = 20
"""So many files are named one by one; the rest is in the ledger's file."""
_KNOWN = "known"


class TooManyBad(UserError):  # noqa: N818 (says what happened)
    """More samples cannot be used than `max_bad` allows; the list follows the first line."""

    def __init__(
        self, what: str, *, where: str | None, todo: str, records: list[BadRecord]
    ) -> None:
        super().__init__(what, where=where, todo=todo)
        self.records = records

    def __str__(self) -> str:
        lines = [f"  {record.file}: {record.reason}" for record in self.records[:_TOLD]]
        more = len(self.records) - _TOLD
        if more > 0:
            lines.append(f"  and {more:,} more")
        return "\n".join([super().__str__(), *lines])


class Ledger:
    """The bad samples of one split.

    `max_bad` is the share of the split's `length` that may be bad: 0.01 for 1 %. One bad file is
    always allowed where `max_bad` is above 0, so that a small set is not stopped by its first; 0
    allows none and 1 allows all. `path` is the file of the run (None: nothing is written),
    `quarantine` what later runs need not read again (see `Quarantine`), `say` where warnings go.
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        split: str,
        length: int,
        max_bad: float = 0.01,
        quarantine: Quarantine | str | Path | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        if not 0 <= max_bad <= 1:
            raise UserError(
                f"max_bad: {max_bad} is not a share from 0 to 1",
                todo="Give e.g. 1% or 0.01.",
            )
        self.split = split
        self.length = length
        self.allowed = _allowed(max_bad, length)
        self.max_bad = max_bad
        if isinstance(quarantine, str | Path):
            quarantine = Quarantine(quarantine)
        self.quarantine = quarantine
        self._lines = None if path is None else SharedLines(path)
        self._say = say
        self._records: dict[str, BadRecord] = {}
        self._told = 0
        self._told_of_known = False
        if self._lines is not None:
            self._take(self._lines.read())

    @property
    def records(self) -> list[BadRecord]:
        """Every bad file of the split, in the order of discovery."""
        return list(self._records.values())

    @property
    def over_budget(self) -> bool:
        """Whether more files are bad than allowed."""
        return len(self._records) > self.allowed

    def known(self, file: str, stamp: Iterable[int] | None) -> bool:
        """Whether an earlier run found that file bad, and it has not changed since."""
        return self.quarantine is not None and self.quarantine.known(file, stamp)

    def add(self, records: Iterable[BadRecord]) -> None:
        """Write down and tell what is new; end the run where it is too much."""
        new: dict[str, BadRecord] = {}
        for record in records:
            if record.file not in self._records and record.file not in new:
                new[record.file] = self._named(record)
        if not new:
            return
        if self._lines is not None:
            with self._lines.adding() as shared:
                self._take(shared.rows)
                new = {file: r for file, r in new.items() if file not in self._records}
                shared.append({"split": self.split, **asdict(r)} for r in new.values())
        self._records.update(new)
        for record in new.values():
            self._tell(record)
        self._keep(new.values())
        if self.over_budget:
            raise self._too_many()

    def _named(self, record: BadRecord) -> BadRecord:
        """The record with the earlier run's reason where it was not read again."""
        if record.kind != _KNOWN or self.quarantine is None:
            return record
        found = self.quarantine.reason(record.file)
        if not self._told_of_known:
            self._told_of_known = True
            self._say(
                f"{self.split}: files in quarantine ({self.quarantine.path}) are replaced without "
                "being read; a file that is repaired is tried again"
            )
        return record if found is None else BadRecord(record.index, record.file, *found)

    def _take(self, rows: Iterable[Row]) -> None:
        for row in rows:
            try:
                record = BadRecord(row["index"], row["file"], row["kind"], row["reason"])
                own = row["split"] == self.split
            except KeyError:
                continue
            if own:
                self._records.setdefault(record.file, record)

    def _tell(self, record: BadRecord) -> None:
        if self._told < _TOLD:
            self._say(f"{self.split}: bad sample replaced: {record.file}: {record.reason}")
        elif self._told == _TOLD:
            where = f"; all are in {self._lines.path}" if self._lines is not None else ""
            self._say(f"{self.split}: further bad samples are replaced without a line each{where}")
        self._told += 1

    def _keep(self, records: Iterable[BadRecord]) -> None:
        if self.quarantine is None:
            return
        try:
            self.quarantine.add(records)
        except UserError as error:
            self._say(f"the quarantine is not kept: {error}")
            self.quarantine = None

    def _too_many(self) -> TooManyBad:
        count = len(self._records)
        return TooManyBad(
            f"{count:,} of {self.length:,} samples ({count / max(self.length, 1):.1%}) cannot be "
            f"used, and max_bad: {self.max_bad:.3g} allows {self.allowed:,}",
            where=self.split,
            todo="Repair or remove these files, or raise max_bad.",
            records=self.records,
        )


def _allowed(max_bad: float, length: int) -> int:
    """Whole samples; a share that gives a whole number in decimals is not cut below it."""
    if max_bad == 0:
        return 0
    return max(1, int(max_bad * length + 1e-9))
