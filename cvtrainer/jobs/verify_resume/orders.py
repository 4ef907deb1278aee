"""What a child process of the job is asked to do, and what it writes down while doing it.

Orders travel as a JSON file. Records are JSON lines that are whole at any moment, because the
child may be killed (by itself, at a border it was told).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

START = "start"
"""In place of a border: from the moment a state has been taken back."""


class Border(NamedTuple):
    """The place before batch number `batch` (from 0) of an epoch; `end` is the stage's end."""

    stage: str
    epoch: int
    batch: int
    end: bool = False

    @classmethod
    def of(cls, plain: Sequence[Any]) -> Border:
        return cls(*plain)


@dataclass(frozen=True)
class Orders:
    """One attempt at the run, or at its data alone."""

    config: str
    overrides: list[str]
    folder: str
    """The run's folder."""
    trace: str
    """Where the records go."""
    steps: int | None = None
    resume: str | None = None
    save_at: list[Any] | None = None
    """The border at which a checkpoint is asked for, as it would be by a hook."""
    save_closed: bool = False
    """After the end of that epoch and its evaluation instead of before it."""
    save_path: str | None = None
    more_batches: int = 0
    """So many batches after the saved border the process is killed."""
    closely: list[Any] | str | None = None
    """The border from which every moment is written down, up to the next border; or `start`."""
    data: dict[str, Any] = field(default_factory=dict)
    """Make batches alone: phase, stage, first and last (epoch, batch), generators in and out."""

    def write(self, path: Path) -> Path:
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> Orders:
        return cls(**json.loads(path.read_text(encoding="utf-8")))


class Trace:
    """A growing file of records."""

    def __init__(self, path: str | Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, kind: str, **values: Any) -> None:
        line = json.dumps({"kind": kind, **values}, ensure_ascii=False) + "\n"
        os.write(self._descriptor, line.encode())


def read_trace(path: str | Path) -> list[dict[str, Any]]:
    """The records; a last one that was cut off is left out."""
    file = Path(path)
    if not file.is_file():
        return []
    lines = file.read_bytes().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def records_of(trace: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    """Those of one kind."""
    return [record for record in trace if record["kind"] == kind]
