"""TensorBoard event files: every value as a scalar under its own name (`train/loss`).

Files are written record by record with TensorBoard's own encoding, without a thread of its own.
The file's name ends in the run and the stage. Another run's files in the folder are moved aside,
because TensorBoard would draw both as one curve; a further stage of the run, which counts its
steps anew, gets a folder of its own below. After a resume TensorBoard is told to forget the steps
beyond the checkpoint.
"""

from __future__ import annotations

import os
import re
import socket
import time
from pathlib import Path
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.logger.growing_file import GrowingFile, unused
from cvtrainer.protocols import LogRecord

_OURS = re.compile(r"events\.out\.tfevents\..*\.([0-9a-f]{16})\.(\w+)")


class TensorBoardLogger:
    """Writes event files into `log_dir`, or into `tensorboard` in the run folder."""

    def __init__(self, log_dir: str | None = None) -> None:
        self.log_dir = log_dir
        self.notes: list[str] = []
        self._events: _EventFile | None = None

    def open(self, run: RunFolder, resume_step: int | None, stage: str = "train") -> None:
        top = make_folder(run.path / "tensorboard" if self.log_dir is None else self.log_dir)
        word = re.sub(r"\W", "_", stage)
        self.notes = _move_strangers(top, run.run_id)
        stages = {name for _, run_id, name in _ours(top) if run_id == run.run_id}
        folder = top
        if stages and word not in stages:
            folder = make_folder(top / word)
            self.notes += _move_strangers(folder, run.run_id)
        self._events = _EventFile(folder, f"{run.run_id}.{word}")
        if resume_step is not None:
            self._events.forget_from(resume_step + 1)

    def write(self, record: LogRecord) -> None:
        if self._events is not None:
            self._events.scalars(record)

    def message(self, text: str) -> None:
        """Words are not metrics."""

    def close(self) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None


class _EventFile:
    """A growing file of TensorBoard records."""

    def __init__(self, folder: Path, suffix: str) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.record_writer import RecordWriter
        except ImportError as error:
            raise UserError(
                f"TensorBoardLogger needs the package tensorboard ({error})",
                where="logger",
                todo="Run: pip install tensorboard",
            ) from error
        self._event: Any = event_pb2.Event
        self._log: Any = event_pb2.SessionLog
        self._summary: Any = summary_pb2.Summary
        stem = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        self._file = GrowingFile(unused(lambda number: folder / f"{stem}.{number}.{suffix}"))
        self._records = RecordWriter(self._file)
        self._add(self._event(wall_time=time.time(), file_version="brain.Event:2"))

    def forget_from(self, step: int) -> None:
        """Have readers drop what earlier files say about this and later steps."""
        now = time.time()
        self._add(
            self._event(wall_time=now, step=step, session_log=self._log(status=self._log.START))
        )

    def scalars(self, record: LogRecord) -> None:
        values = [
            self._summary.Value(tag=name, simple_value=float(value))
            for name, value in record.values.items()
        ]
        self._add(
            self._event(
                wall_time=time.time(), step=record.step, summary=self._summary(value=values)
            )
        )

    def close(self) -> None:
        self._file.close()

    def _add(self, event: Any) -> None:
        self._records.write(event.SerializeToString())


def _ours(folder: Path) -> list[tuple[Path, str, str]]:
    """Event files of cvtrainer in a folder, each with its run and stage."""
    found = [(path, _OURS.fullmatch(path.name)) for path in sorted(folder.glob("events.out.*"))]
    return [(path, match[1], match[2]) for path, match in found if match]


def _move_strangers(folder: Path, run_id: str) -> list[str]:
    """Put other runs' event files into a folder of their own."""
    strangers = [path for path, owner, _ in _ours(folder) if owner != run_id]
    if not strangers:
        return []
    aside = make_folder(unused(lambda number: folder / f"earlier_{number}"))
    for path in strangers:
        os.replace(path, aside / path.name)
    return [f"{folder}: event files of another run were moved to {aside.name}"]
