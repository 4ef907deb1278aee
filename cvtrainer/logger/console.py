"""Metric lines for the person who watches, on standard output.

Colour is used on a terminal only; a pipe or a file gets plain text. The stream is looked up at
each line, so that a live progress bar can take lines over and print them above itself.
"""

from __future__ import annotations

import sys

from cvtrainer.core.run_folder import RunFolder
from cvtrainer.logger.line import position, values_text
from cvtrainer.protocols import LogRecord

_DIM = "\x1b[2m"
_BOLD = "\x1b[1m"
_GREEN = "\x1b[32m"
_CYAN = "\x1b[36m"
_PLAIN = "\x1b[0m"


class ConsoleLogger:
    """One aligned line per record; messages as they are."""

    def open(self, run: RunFolder, resume_step: int | None, stage: str = "train") -> None:
        """Nothing to prepare."""

    def write(self, record: LogRecord) -> None:
        phase, place, values = f"{record.phase:<5}", position(record), values_text(record)
        if sys.stdout.isatty():
            colour = _CYAN if record.phase == "train" else _BOLD + _GREEN
            phase, place = f"{colour}{phase}{_PLAIN}", f"{_DIM}{place}{_PLAIN}"
        self.message(f"{phase} {place} {values}")

    def message(self, text: str) -> None:
        print(text, flush=True)

    def close(self) -> None:
        """Standard output is not ours to close."""
