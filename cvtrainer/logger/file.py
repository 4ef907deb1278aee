"""`train.log`: everything that was told, one line per event, with the time.

The first line names the run; by it the file is known again when the run is resumed or goes on
with its next stage. Nothing is ever cut out of it: it tells what happened, also what was lost.
"""

from __future__ import annotations

import re
from datetime import datetime

from cvtrainer.core.errors import UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.logger.growing_file import GrowingFile, folder_of, move_aside, plain_filename
from cvtrainer.logger.line import position, values_text
from cvtrainer.protocols import LogRecord

_FIRST_LINE = re.compile(r"\S+ \S+  (?:\S+  )?run ([0-9a-f]+)\b")


class FileLogger:
    """Writes `filename` into `log_dir`, or into the run folder; `label` stands in every line."""

    def __init__(
        self, log_dir: str | None = None, filename: str = "train.log", label: str = ""
    ) -> None:
        if label.split() != [label] * bool(label):
            raise UserError(
                f"label is {label!r}", where="logger.file", todo="Give one word without blanks."
            )
        self.label = f"{label}  " if label else ""
        self.log_dir = log_dir
        self.filename = plain_filename(filename, "logger.file")
        self.notes: list[str] = []
        self._file: GrowingFile | None = None

    def open(self, run: RunFolder, resume_step: int | None, stage: str = "train") -> None:
        path = folder_of(self.log_dir, run.path) / self.filename
        self.notes = move_aside(path, lambda line: _run_of(line) == run.run_id)
        self._file = GrowingFile(path)
        if path.stat().st_size == 0:
            self.message(f"run {run.run_id}  {run.path}")
        if resume_step:
            self.message(f"stage {stage} continues after step {resume_step}")

    def write(self, record: LogRecord) -> None:
        self.message(f"{record.stage}  {record.phase:<5} {position(record)} {values_text(record)}")

    def message(self, text: str) -> None:
        if self._file is not None:
            line = " | ".join(text.splitlines())
            self._file.write_line(f"{datetime.now():%Y-%m-%d %H:%M:%S}  {self.label}{line}")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _run_of(line: str) -> str | None:
    found = _FIRST_LINE.match(line)
    return found.group(1) if found else None
