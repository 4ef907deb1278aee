"""TensorBoard event files, written with tensorboard's own writer and without torch's part of it.

A file's name ends with the ids of its run and stage, so that it is known again: a resumed stage
goes on beside it and tells TensorBoard to purge what lies beyond the checkpoint; another run's
files in the folder are moved into one of their own, where TensorBoard shows them as another run.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.core.files import make_folder
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.protocols import LogRecord

_EVENT_FILES = "events.out.tfevents.*"
_FLUSH_S = 10


class TensorBoardLogger:
    """Writes scalars into `log_dir`, or into `tensorboard` in the run folder.

    A further stage of the same run gets a folder named after it, because its steps start anew.
    """

    def __init__(self, log_dir: str | None = None) -> None:
        self.log_dir = log_dir
        self.notes: list[str] = []
        self._writer: Any = None

    def open(self, run: RunFolder, resume_step: int | None, stage: str = "train") -> None:
        folder = make_folder(run.path / "tensorboard" if self.log_dir is None else self.log_dir)
        self.notes = _move_strangers_aside(folder, run.run_id)
        own = _suffix(run.run_id, stage)
        stages = {path.name.endswith(own) for path in folder.glob(_EVENT_FILES)}
        if stages and True not in stages:
            folder = make_folder(folder / _plain(stage))
            self.notes += _move_strangers_aside(folder, run.run_id)
        self._writer = _event_file_writer(folder, own)
        if resume_step is not None:
            self._purge(resume_step + 1)

    def write(self, record: LogRecord) -> None:
        if self._writer is None:
            return
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [
            Summary.Value(tag=name, simple_value=value) for name, value in record.values.items()
        ]
        values.append(Summary.Value(tag="epoch", simple_value=record.epoch))
        summary = Summary(value=values)
        self._writer.add_event(Event(wall_time=time.time(), step=record.step, summary=summary))

    def message(self, text: str) -> None:
        """Words belong into the log file."""

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _purge(self, step: int) -> None:
        """Let TensorBoard forget earlier events from this step on."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        start = SessionLog(status=SessionLog.START)
        self._writer.add_event(Event(wall_time=time.time(), step=step, session_log=start))


def _event_file_writer(folder: Path, suffix: str) -> Any:
    try:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise UserError(
            "the tensorboard package is missing",
            where="logger.tensorboard",
            todo="pip install tensorboard, or leave this logger out.",
        ) from error
    return EventFileWriter(str(folder), flush_secs=_FLUSH_S, filename_suffix=suffix)


def _suffix(run_id: str, stage: str) -> str:
    return f".{run_id}.{_plain(stage)}"


def _plain(name: str) -> str:
    """A stage's name as part of a file's name."""
    return re.sub(r"[^\w-]", "_", name)


def _move_strangers_aside(folder: Path, run_id: str) -> list[str]:
    """Another run's curves would be drawn into ours."""
    strangers = [path for path in folder.glob(_EVENT_FILES) if f".{run_id}." not in path.name]
    if not strangers:
        return []
    count = 1
    while (aside := folder / f"earlier_{count}").exists():
        count += 1
    make_folder(aside)
    for path in strangers:
        os.replace(path, aside / path.name)
    return [f"{folder}: {len(strangers)} event file(s) of another run were moved to {aside.name}"]
