"""Several writers as one: each gets everything, and none of them can end the training.

A writer that cannot be opened is an error at the start, where it can be put right at once. One
that fails later (disk full, no network) is told about once, through the others; it is tried again
with each record, because the disk may be freed while the run goes on.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterable, Iterator

from cvtrainer.core.errors import UserError
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.protocols import LogRecord, Writer


class Writers:
    """A writer made of writers; iterating gives the single ones."""

    def __init__(self, writers: Iterable[Writer]) -> None:
        self._writers = tuple(writers)
        self._failed: set[int] = set()

    def __iter__(self) -> Iterator[Writer]:
        return iter(self._writers)

    def __len__(self) -> int:
        return len(self._writers)

    def open(self, run: RunFolder, resume_step: int | None, stage: str = "train") -> None:
        """Open all of them, or none; what they noticed is told to all."""
        opened: list[Writer] = []
        try:
            for writer in self._writers:
                writer.open(run, resume_step, stage)
                opened.append(writer)
        except BaseException:
            for writer in opened:
                self._try(writer, writer.close)
            raise
        for writer in self._writers:
            for note in getattr(writer, "notes", ()):
                self.message(note)

    def write(self, record: LogRecord) -> None:
        for writer in self._writers:
            self._try(writer, lambda writer=writer: writer.write(record))  # type: ignore[misc]

    def message(self, text: str) -> None:
        for writer in self._writers:
            self._try(writer, lambda writer=writer: writer.message(text))  # type: ignore[misc]

    def close(self) -> None:
        for writer in self._writers:
            self._try(writer, writer.close)

    def _try(self, writer: Writer, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            if id(writer) not in self._failed:
                self._failed.add(id(writer))
                self._warn(writer, error)

    def _warn(self, failed: Writer, error: Exception) -> None:
        text = f"warning: {type(failed).__name__} cannot write ({error}); training goes on"
        if not isinstance(error, OSError | UserError):
            text += "\n" + "".join(traceback.format_exception(error)).rstrip()
        others = [writer for writer in self._writers if id(writer) not in self._failed]
        for writer in others:
            self._try(writer, lambda writer=writer: writer.message(text))  # type: ignore[misc]
        if not others:
            print(text, file=sys.stderr, flush=True)
