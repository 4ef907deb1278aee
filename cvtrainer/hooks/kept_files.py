"""Which checkpoint files of a stage stay: the newest of some, the best of some.

What is kept is decided when a file is asked for, so that it is the same however fast the disk is;
what has to go is removed once the new file is whole. The list of what was asked for at a border is
part of the state saved there: should the process die between two files, the resumed run makes up
for the other ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cvtrainer.core.errors import UserError
from cvtrainer.engine.checkpoint import read_checkpoint, remove_checkpoint
from cvtrainer.engine.view import StageView


class KeptFiles:
    """Names in one folder; `best` is sorted, the best first."""

    def __init__(self) -> None:
        self.folder = Path()
        self.periodic: list[str] = []
        self.best: list[tuple[float, str]] = []
        self._asked: dict[str, list[str]] = {}
        self._resumed = False

    def add(self, name: str) -> None:
        """A file that stays until it is replaced."""
        self._asked.setdefault(name, [])

    def add_periodic(self, name: str, *, at_most: int | None) -> None:
        """One more of a series of which the newest are kept."""
        self.periodic = [one for one in self.periodic if one != name] + [name]
        self.add(name)
        while at_most is not None and len(self.periodic) > at_most:
            self._drop(self.periodic.pop(0), instead=name)

    def add_best(
        self, name: str, value: float, better: Callable[[float, float], bool], *, at_most: int
    ) -> bool:
        """Whether the value is among the best; of equals the earlier one is."""
        others = [pair for pair in self.best if pair[1] != name] if at_most > 1 else self.best
        place = 0
        while place < len(others) and not better(value, others[place][0]):
            place += 1
        if place >= at_most:
            return False
        self.best = [*others[:place], (value, name), *others[place:]]
        self.add(name)
        while len(self.best) > at_most:
            self._drop(self.best.pop()[1], instead=name)
        return True

    def is_best(self, name: str) -> bool:
        return any(name == one for _, one in self.best)

    def asked_before_resuming(self) -> list[str]:
        """What the border that the loaded state was saved at has asked for, once."""
        if not self._resumed:
            self._asked.clear()  # of a run that failed before it came to that border
        self._resumed = False
        return list(self._asked)

    def is_whole(self, name: str, *, remove: bool) -> None:
        """That file is there; with `remove`, what it replaces goes."""
        gone = self._asked.pop(name, [])
        staying = {*self.periodic, *(one for _, one in self.best), *self._asked}
        for one in gone:
            if remove and one not in staying:
                remove_checkpoint(self.folder / one)

    def owed(self, stage: StageView) -> list[str]:
        """Of what was asked for at this border, the files that do not hold it, nor anything later.

        One alone is the very file that the run resumes from.
        """
        if len(self._asked) < 2:
            return []
        return [name for name in self._asked if not _reaches(self.folder / name, stage)]

    def state_dict(self) -> dict[str, Any]:
        return {
            "kept": list(self.periodic),
            "best_files": [[value, name] for value, name in self.best],
            "asked": {name: list(gone) for name, gone in self._asked.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._resumed = True
        self.periodic = list(state["kept"])
        self.best = [(value, name) for value, name in state.get("best_files", [])]
        self._asked = {name: list(gone) for name, gone in state.get("asked", {}).items()}

    def _drop(self, name: str, *, instead: str) -> None:
        if name != instead:
            self._asked[instead].append(name)


def _reaches(path: Path, stage: StageView) -> bool:
    """Whether the file is whole and of this stage of this run, and holds this border or a later."""
    try:
        state = read_checkpoint(path)
        run = stage.trainer.run
        mine = (state["run_id"], state["stage"]) == (run.run_id if run else None, stage.name)
        clock = state["clock"]
        return mine and (clock["step"], clock["closed"]) >= (stage.step, stage.clock.closed)
    except (UserError, KeyError):
        return False


def best_names(state: dict[str, Any]) -> Sequence[str]:
    """Names of the best files as a checkpoint's hooks remember them, the best first."""
    for hook in state.get("hooks", {}).values():
        if isinstance(hook, dict) and hook.get("best_files"):
            return [str(name) for _, name in hook["best_files"]]
    return []
