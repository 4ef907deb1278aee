"""`metrics.jsonl`: every record as one flat JSON object, for programs.

Each line holds `run`, `stage`, `phase`, `epoch`, `step`, the values under their names and `time`
(seconds since 1970). Whole lines only. After a resume the file is as if the run had never gone
beyond the checkpoint: later lines are cut off, damaged ones dropped, and what the checkpoint's
step makes once more (the end of its epoch) is not written twice.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any

from cvtrainer.core.files import write_whole
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.logger.growing_file import GrowingFile, folder_of, move_aside, plain_filename
from cvtrainer.protocols import LogRecord


class JsonlLogger:
    """Writes `filename` into `log_dir`, or into the run folder.

    Numbers that JSON does not know are the strings "nan", "inf" and "-inf", which `float` reads.
    """

    def __init__(self, log_dir: str | None = None, filename: str = "metrics.jsonl") -> None:
        self.log_dir = log_dir
        self.filename = plain_filename(filename, "logger.jsonl")
        self.notes: list[str] = []
        self._file: GrowingFile | None = None
        self._run_id = ""
        self._there: set[tuple[str, str, int]] = set()

    def open(self, run: RunFolder, resume_step: int | None, stage: str = "train") -> None:
        path = folder_of(self.log_dir, run.path) / self.filename
        self.notes = move_aside(path, lambda line: (_parse(line) or {}).get("run") == run.run_id)
        self._run_id = run.run_id
        self._there = set()
        if path.exists():
            before = path.read_bytes()
            kept = _kept(before.splitlines(keepends=True), stage, resume_step)
            after = b"".join(line for line, _ in kept)
            if after != before:
                write_whole(path, after)
            self._there = {_place(entry) for _, entry in kept if entry["step"] == resume_step}
        self._file = GrowingFile(path)

    def write(self, record: LogRecord) -> None:
        if self._file is None or (record.stage, record.phase, record.step) in self._there:
            return
        entry = {
            "run": self._run_id,
            "stage": record.stage,
            "phase": record.phase,
            "epoch": record.epoch,
            "step": record.step,
            **{name: _plain(value) for name, value in record.values.items()},
            "time": round(time.time(), 3),
        }
        self._file.write_line(json.dumps(entry, allow_nan=False, ensure_ascii=False))

    def message(self, text: str) -> None:
        """Words are not metrics."""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _kept(
    lines: list[bytes], stage: str, resume_step: int | None
) -> list[tuple[bytes, dict[str, Any]]]:
    """The whole lines that were made before the checkpoint."""
    kept: list[tuple[bytes, dict[str, Any]]] = []
    reached = False
    for line in lines:
        entry = _parse(line)
        if entry is None:
            continue
        if resume_step is not None:
            if reached and entry["stage"] != stage:
                break
            reached = entry["stage"] == stage
            if reached and entry["step"] > resume_step:
                break
        kept.append((line, entry))
    return kept


def _parse(line: bytes | str) -> dict[str, Any] | None:
    """A line of ours; None for a damaged one."""
    if line[-1:] not in (b"\n", "\n"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
        return None
    return entry if {"run", "stage", "phase"} <= entry.keys() else None


def _place(entry: dict[str, Any]) -> tuple[str, str, int]:
    return entry["stage"], entry["phase"], entry["step"]


def _plain(value: float) -> float | str:
    number = float(value)
    return number if math.isfinite(number) else str(number)
