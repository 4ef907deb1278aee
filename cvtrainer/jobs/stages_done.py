"""Which stages of a run are over, and where they ended: `stages.json` in the run folder.

A checkpoint says how far a stage came, not whether it was over: it may have been ended early, and
what is done after its last save may be undone. A resumed run passes over a stage only if it is
noted here, at the checkpoint's own position and with the settings it has now.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cvtrainer.core.files import write_whole
from cvtrainer.core.run_folder import RunFolder
from cvtrainer.protocols import State

FILE = "stages.json"


class StagesDone:
    """The notes of one run; only the first rank writes them."""

    def __init__(self, run: RunFolder) -> None:
        self._path = run.path / FILE

    def note(self, stage: Mapping[str, Any], clock: Mapping[str, Any]) -> None:
        """This stage is over, at this position."""
        self._write({**self._read(), str(stage["name"]): {**_place(clock), "of": _digest(stage)}})

    def forget(self, names: Sequence[str]) -> None:
        """These stages begin, or begin again."""
        known = self._read()
        if any(name in known for name in names):
            self._write({name: note for name, note in known.items() if name not in names})

    def is_over(self, stage: Mapping[str, Any], state: State) -> bool:
        """Whether the stage ended where this state is, with the settings it has now."""
        note = self._read().get(str(stage["name"]), {})
        return self.is_end(str(stage["name"]), state) and note.get("of") == _digest(stage)

    def is_end(self, name: str, state: State) -> bool:
        """Whether this state is the end of that stage."""
        note = self._read().get(name)
        return note is not None and all(note.get(k) == v for k, v in _place(state["clock"]).items())

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # not there, or not ours: nothing is known to be over
            return {}
        return known if isinstance(known, dict) else {}

    def _write(self, notes: Mapping[str, Any]) -> None:
        write_whole(self._path, json.dumps(notes, indent=2, ensure_ascii=False) + "\n")


def full_length(stage: Mapping[str, Any], state: State) -> bool:
    """Whether a state has all the epochs or steps that the stage is to have."""
    clock = state["clock"]
    epochs, steps = stage["epochs"], stage["max_steps"]
    if not clock["closed"]:
        return False
    return (epochs is not None and clock["epoch"] >= epochs) or (
        steps is not None and clock["step"] >= steps
    )


def _place(clock: Mapping[str, Any]) -> dict[str, Any]:
    return {key: clock[key] for key in ("epoch", "batch", "step", "closed")}


def _digest(stage: Mapping[str, Any]) -> str:
    """Of what decides the course of a stage."""
    told = {key: value for key, value in stage.items() if key != "logger"}
    text = json.dumps(told, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
