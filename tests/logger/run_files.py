"""Reads back what loggers wrote: lines, TensorBoard scalars, and the run file of W&B."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cvtrainer.protocols import LogRecord

_BLOCK = 32768
_HEADER = struct.Struct("<IHB")


def record(step: int, *, phase: str = "train", stage: str = "train", **values: float) -> LogRecord:
    """A record as the hook makes it."""
    named = {f"{phase}/{name}": value for name, value in (values or {"loss": 1.0 / step}).items()}
    return LogRecord(phase, stage, 1, step, named)


def json_lines(path: Path) -> list[dict[str, Any]]:
    """Every line, each of which must be whole."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    """Step and value of a scalar as TensorBoard itself shows it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return [(event.step, event.value) for event in found.Scalars(tag)]


def wandb_history(path: Path) -> list[dict[str, float]]:
    """The rows of values in a W&B run file."""
    from wandb.proto.wandb_internal_pb2 import Record

    rows = []
    for content in _wandb_records(path.read_bytes()):
        entry = Record.FromString(content)
        if entry.WhichOneof("record_type") == "history":
            rows.append(
                {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json)
                    for item in entry.history.item
                }
            )
    return rows


def wandb_run(path: Path) -> Any:
    """The run's own entry: id, project, name."""
    from wandb.proto.wandb_internal_pb2 import Record

    entries = [Record.FromString(content) for content in _wandb_records(path.read_bytes())]
    return next(one.run for one in entries if one.WhichOneof("record_type") == "run")


def wandb_exits(path: Path) -> list[int]:
    """The exit codes that the run ended with: one, if it was finished once."""
    from wandb.proto.wandb_internal_pb2 import Record

    entries = [Record.FromString(content) for content in _wandb_records(path.read_bytes())]
    return [one.exit.exit_code for one in entries if one.WhichOneof("record_type") == "exit"]


def wandb_config(path: Path) -> dict[str, Any]:
    """The config that was sent; all parts of it, if several were."""
    from wandb.proto.wandb_internal_pb2 import Record

    entries = [Record.FromString(content) for content in _wandb_records(path.read_bytes())]
    parts = [one.run.config for one in entries if one.WhichOneof("record_type") == "run"]
    parts += [one.config for one in entries if one.WhichOneof("record_type") == "config"]
    sent = [part for part in parts if part.update]
    assert len(sent) == 1
    return {one.key: json.loads(one.value_json) for one in sent[0].update}


def _wandb_records(content: bytes) -> Iterator[bytes]:
    """Join the pieces of each record; the file is cut into blocks like a LevelDB log."""
    assert content[:4] == b":W&B"
    place, pieces = 7, b""
    while place + _HEADER.size <= len(content):
        left = _BLOCK - place % _BLOCK
        if left < _HEADER.size:
            place += left
            continue
        _, length, kind = _HEADER.unpack_from(content, place)
        place += _HEADER.size
        pieces += content[place : place + length]
        place += length
        if kind in (1, 4):
            yield pieces
            pieces = b""
